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
mod links;
mod mounts;
pub(crate) mod seccomp;
mod terminals;

use bundle::Bundle;

/// A case gets a bundle of its own.
type Case = fn(&mut Bundle) -> Result<(), Failed>;

#[allow(dead_code, reason = "another suite has these cases among its own")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit_code()
}

pub(crate) fn trials() -> Vec<Trial> {
    let lacks = bundle::lacks();
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let suites = [
        life::CASES,
        exec::CASES,
        hooks::CASES,
        terminals::CASES,
        documents::CASES,
        mounts::CASES,
        escapes::CASES,
        links::CASES,
        seccomp::CASES,
    ];
    let trials = suites.into_iter().flatten().map(|(name, case)| trial(name, *case, lacks.clone(), required));
    trials.collect()
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
