//! The harness: cases that say what they need, run in parallel, and show as ignored with a reason where the machine
//! lacks it. `PROA_TEST_REQUIRE=all` turns such a skip into a failure, except those of the reviewed list.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::guest;
use crate::isolation::Isolation;
use crate::need::Need;
use crate::node::{self, Node};
use crate::skips;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// The program under test.
///
/// # Panics
/// Outside a suite started by [`main`].
pub fn program() -> &'static PathBuf {
    PROGRAM.get().expect("a suite starts with `harness::main`")
}

/// What a case that runs under every isolation is given.
#[derive(Debug)]
pub struct Under {
    /// A host that the suite's cases share.
    pub node: &'static Node,
    pub isolation: Isolation,
}

/// A case of its own.
pub type Case = (&'static str, fn() -> Result<()>);
/// A case for every isolation.
pub type IsolationCase = (&'static str, fn(&Under) -> Result<()>);

/// Names functions as cases: `cases![one_fact, another_fact]`.
#[macro_export]
macro_rules! cases {
    ($($case:ident),* $(,)?) => { [$((stringify!($case), $case as _)),*] };
}

/// The cases of one suite.
#[derive(Debug, Default)]
pub struct Suite {
    trials: Vec<Trial>,
}

impl Suite {
    /// Adds cases that need `needs`.
    pub fn add<const N: usize>(&mut self, needs: &'static [Need], cases: [Case; N]) {
        for (name, body) in cases {
            self.case(name, needs.to_vec(), body);
        }
    }

    /// Adds one case whose name or body is made at run time, such as one per sub-case of a script.
    pub fn case(
        &mut self,
        name: impl Into<String>,
        needs: Vec<Need>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let name = name.into();
        self.trials.push(Trial::ignorable_test(name.clone(), move || attempt(&name, &needs, body)));
    }

    /// Adds cases to be run under each of `isolations`, on the node that the suite shares.
    pub fn under<const N: usize>(
        &mut self,
        isolations: &'static [Isolation],
        needs: &'static [Need],
        cases: [IsolationCase; N],
    ) {
        for isolation in isolations {
            for (name, body) in cases {
                let needs = [&[Need::Isolation(*isolation)], needs].concat();
                self.case(format!("{isolation}::{name}"), needs, move || {
                    body(&Under { node: Node::shared()?, isolation: *isolation })
                });
            }
        }
    }

    /// Adds cases to be run under every isolation.
    pub fn under_all<const N: usize>(&mut self, needs: &'static [Need], cases: [IsolationCase; N]) {
        self.under(&Isolation::ALL, needs, cases);
    }
}

fn attempt(name: &str, needs: &[Need], body: impl FnOnce() -> Result<()>) -> Result<Completion, Failed> {
    let lacking = needs.iter().find_map(|need| Some((need, need.lacking()?)));
    if let Some((need, reason)) = lacking {
        return skip(name, need, &reason);
    }
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Ok(Completion::Completed),
        Ok(Err(error)) => Err(told(&error).into()),
        Err(panic) => Err(said(&*panic).into()),
    }
}

fn skip(name: &str, need: &Need, reason: &str) -> Result<Completion, Failed> {
    let required = env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    if !required || skips::is_reviewed(name, need) {
        return Ok(Completion::ignored_with(format!("needs {need}: {reason}")));
    }
    Err(format!("PROA_TEST_REQUIRE=all, but it needs {need}: {reason}").into())
}

/// An error with its causes, a line each, without a backtrace.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\nbecause ")
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

/// Runs a suite against `program`; what the shared node leaves behind is a failure of the whole.
///
/// `PROA_TEST_PROGRAM` names another program than the one cargo built, such as a copy an ordinary user can reach.
pub fn main(program: &str, fill: impl FnOnce(&mut Suite)) -> ExitCode {
    let program = env::var_os("PROA_TEST_PROGRAM").map_or_else(|| PathBuf::from(program), PathBuf::from);
    PROGRAM.set(program).expect("one suite a process");
    let mut suite = Suite::default();
    fill(&mut suite);
    let conclusion = libtest_mimic::run(&Arguments::from_args(), suite.trials);
    let closed = node::close_shared();
    guest::clean_up();
    match closed.context("closing the node the suite shared") {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            println!("\nerror: {}", told(&error));
            println!("test result: FAILED. after the suite: its node left something behind\n");
            ExitCode::from(101)
        }
    }
}

/// Fails with `reason`: for a branch that a case must not reach.
///
/// # Errors
/// Always.
pub fn fail<T>(reason: impl std::fmt::Display) -> Result<T> {
    bail!("{reason}")
}
