//! Who a container's process is, looked at from inside and from outside: namespaces, ids, powers. Needs privilege; where it
//! lacks, every case is ignored with the reason (and fails under PROA_TEST_REQUIRE=all).

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../verbs/bundle.rs"]
#[allow(dead_code, reason = "another suite's cases need more of it")]
mod bundle;
mod escapes;
mod ids;
mod namespaces;
mod process;
mod rootless;

use bundle::Bundle;

/// A case gets a bundle of its own.
type Case = fn(&mut Bundle) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let lacks = bundle::lacks();
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let suites = [namespaces::CASES, ids::CASES, process::CASES, rootless::CASES, escapes::CASES];
    let trials = suites.into_iter().flatten().map(|(name, case)| trial(name, *case, lacks.clone(), required));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(name: &str, case: Case, lacks: Option<String>, required: bool) -> Trial {
    let ignored = lacks.is_some() && !required;
    let kind = lacks.as_ref().filter(|_| ignored).map_or(String::new(), |reason| format!("ignored, {reason}"));
    let run = move || match lacks {
        Some(reason) => Err(Failed::from(reason)),
        None => {
            let mut bundle = Bundle::new()?;
            case(&mut bundle)?;
            bundle.leaves_nothing()
        }
    };
    Trial::test(name, run).with_kind(kind).with_ignored_flag(ignored)
}
