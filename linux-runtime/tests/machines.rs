//! The runtime's own suites on machines of their own, emulated, since this one may have cgroups of v1 or both: one with
//! v2 alone on the kernel Debian 12 gives (6.1), one where systemd is the first program. Each boots once and runs this
//! program again; each case here judges a case there.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use proa_linux::zygote;
use proa_machine::{DISK_MAKER, EMULATOR, First, Machine};

#[path = "machines/driver.rs"]
mod driver;
#[path = "resources.rs"]
mod resources;
#[path = "sandboxes/main.rs"]
mod sandboxes;
#[path = "verbs/main.rs"]
mod verbs;

/// Names the suites that are run; without it this is the program that boots machines.
const INSIDE: &str = "PROA_TEST_INSIDE";

/// A machine and what is run on it.
struct Suites {
    name: &'static str,
    first: First,
    script: &'static str,
    trials: fn() -> Vec<Trial>,
    lacks: fn() -> Option<String>,
}

static MACHINES: [Suites; 2] = [
    Suites {
        name: "v2",
        first: First::Script,
        script: include_str!("machines/v2.sh"),
        trials: on_v2,
        lacks: lacks_emulator,
    },
    Suites {
        name: "systemd",
        first: First::Systemd,
        script: include_str!("machines/systemd.sh"),
        trials: driver::trials,
        lacks: lacks_systemd,
    },
];

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "zygote") {
        return zygote::main(&sandboxes::ENTRIES);
    }
    let arguments = Arguments::from_args();
    let inside = std::env::var(INSIDE).ok();
    let trials = match MACHINES.iter().find(|suites| inside.as_deref() == Some(suites.name)) {
        Some(suites) => (suites.trials)(),
        None => MACHINES.iter().flat_map(judged).collect(),
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn on_v2() -> Vec<Trial> {
    let trials = [sandboxes::trials(), resources::trials(), verbs::trials()];
    trials.into_iter().flatten().filter(|trial| !needs_more(trial.name())).collect()
}

/// Cases about filters build a program or run python, which this machine has not; cgroups are nothing to them.
fn needs_more(name: &str) -> bool {
    name == sandboxes::WAYS_OUT || verbs::seccomp::CASES.iter().any(|(case, _)| *case == name)
}

/// What a machine said of its cases, or why it could not be asked.
type Said = Arc<OnceLock<Result<String, String>>>;

fn judged(suites: &'static Suites) -> Vec<Trial> {
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let lacks = (suites.lacks)();
    let ignored = lacks.is_some() && !required;
    let kind = lacks.as_ref().filter(|_| ignored).map_or(String::new(), |reason| format!("ignored, {reason}"));
    let said = Said::default();
    let judge = |name: String| {
        let (said, lacks) = (said.clone(), lacks.clone());
        let trial = Trial::test(format!("{}: {name}", suites.name), move || match lacks {
            Some(reason) => Err(Failed::from(reason)),
            None => judge(said.get_or_init(|| boot(suites)), &name),
        });
        trial.with_kind(kind.clone()).with_ignored_flag(ignored)
    };
    (suites.trials)().iter().map(|trial| judge(trial.name().to_owned())).collect()
}

fn judge(said: &Result<String, String>, name: &str) -> Result<(), Failed> {
    let text = said.as_ref().map_err(|error| format!("the machine did not run: {error}"))?;
    let line = |line: &str| Some(line.strip_prefix("test ")?.strip_prefix(name)?.trim_start().to_owned());
    match text.lines().find_map(line).as_deref() {
        Some("... ok") => Ok(()),
        Some(other) => Err(format!("`{other}` there; all that was said:\n{text}").into()),
        None => Err(format!("it was not run there; all that was said:\n{text}").into()),
    }
}

fn boot(suites: &Suites) -> Result<String, String> {
    let boot = || {
        let machine = Machine::new()?;
        machine.add_program(&std::env::current_exe()?, "suite")?;
        let program = env!("CARGO_BIN_EXE_proa-linux");
        machine.add_program(program.as_ref(), "proa-linux")?;
        // Where the suites look for it.
        std::fs::write(machine.root().join("program"), program)?;
        let said = machine.boot(suites.first, suites.script)?;
        Ok::<_, anyhow::Error>(said.step("suite")?.text.clone())
    };
    boot().map_err(|error| format!("{error:#}"))
}

fn lacks_emulator() -> Option<String> {
    let missing = [EMULATOR, DISK_MAKER, "busybox"].into_iter().find(|name| proa_machine::find(name).is_none());
    let missing = missing.map(|name| format!("`{name}` is not installed"));
    missing.or_else(|| proa_machine::kernel().err().map(|error| format!("{error:#}")))
}

fn lacks_systemd() -> Option<String> {
    lacks_emulator().or_else(|| proa_machine::systemd().err().map(|error| format!("{error:#}")))
}
