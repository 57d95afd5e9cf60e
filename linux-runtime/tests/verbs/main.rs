//! `proa-linux` as its callers use it: real bundles, real namespaces, a busybox inside. Needs privilege; where that lacks,
//! every case is ignored with the reason (and fails under PROA_TEST_REQUIRE=all).

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

pub(crate) mod bundle;
mod documents;
mod escapes;
mod exec;
mod hooks;
mod life;
#[allow(dead_code, reason = "what it tries is the same on every machine")]
mod links;
#[allow(dead_code, reason = "as above")]
mod mounts;
pub(crate) mod seccomp;
mod terminals;

use bundle::Bundle;

/// A case gets a bundle of its own.
type Case = fn(&mut Bundle) -> Result<(), Failed>;

#[allow(dead_code, reason = "another suite has these cases among its own")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = trials().into_iter().chain(trials_of(&[mounts::CASES, links::CASES]));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Those whose outcome another machine may change.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of(&[
        life::CASES,
        exec::CASES,
        hooks::CASES,
        terminals::CASES,
        documents::CASES,
        escapes::CASES,
        seccomp::CASES,
    ])
}

fn trials_of(suites: &[&'static [(&'static str, Case)]]) -> Vec<Trial> {
    let lacks = bundle::lacks();
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let cases = suites.iter().flat_map(|suite| suite.iter());
    cases.map(|(name, case)| trial(name, *case, lacks.clone(), required)).collect()
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
