//! One compilation: a compiler's sandbox is made, given bytes, and gone again when its report is read.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use proa_wasm::Facts;
use proa_wasm::compiler::Report;

use super::COMPILER;
use super::workers::random_name;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::linux::{self, Confine};

/// Memory a compilation may use, in bytes.
const MEMORY: u64 = 2 << 30;

/// Processes and threads of a compiler.
const THREADS: i64 = 64;

/// Time a compilation may take: Cranelift compiles about 1.4 MB a second on two cores.
const DEADLINE: Duration = Duration::from_secs(180);

/// Longest report that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// Compiles `module` into the memfd `code`; `report` is an empty memfd.
pub(super) async fn run(linux: &linux::Runtime, module: &Path, code: OwnedFd, report: OwnedFd) -> Result<Facts> {
    let module = File::open(module).map_err(|error| {
        Error::new(Kind::Failed, format!("open the module `{}`", module.display())).caused_by(error)
    })?;
    let answer = report.try_clone().map_err(|error| Error::new(Kind::Failed, "keep the report").caused_by(error))?;
    let compiler = linux
        .confine(Confine {
            id: format!("compiler-{}", random_name()?),
            entry: COMPILER,
            argument: Vec::new(),
            fds: vec![module.into(), code, report],
            syscalls: proa_wasm::compiler::SYSCALLS,
            memory: Some(MEMORY),
            cpu_quota: None,
            pids: Some(THREADS),
        })
        .await?;
    let ended = tokio::time::timeout(DEADLINE, compiler.wait()).await;
    let words = match &ended {
        Ok(exit) if exit.code != Some(0) => last_words(&compiler).await,
        _ => String::new(),
    };
    let deleted = compiler.delete().await;
    let facts = match ended {
        Ok(exit) => read(exit, answer, &words)?,
        Err(_elapsed) => {
            let sentence = format!("the module takes longer than {} s to compile", DEADLINE.as_secs());
            return Err(Error::new(Kind::Invalid, sentence));
        }
    };
    deleted.map(|()| facts)
}

fn read(exit: Exit, report: OwnedFd, words: &str) -> Result<Facts> {
    match exit {
        Exit { code: Some(0), .. } => {}
        Exit { oom_killed: true, .. } => {
            let sentence = format!("the module needs more than {} MiB of memory to compile", MEMORY >> 20);
            return Err(Error::new(Kind::Invalid, sentence));
        }
        Exit { code, .. } => {
            let code = code.map_or_else(|| "an unknown status".to_owned(), |code| format!("status {code}"));
            return Err(Error::new(Kind::Failed, format!("the compiler ended with {code}{words}")));
        }
    }
    let fail = |error: std::io::Error| Error::new(Kind::Failed, "read the compiler's report").caused_by(error);
    let mut file = File::from(report);
    let mut text = Vec::new();
    file.rewind().map_err(fail)?;
    file.take(LONGEST).read_to_end(&mut text).map_err(fail)?;
    match serde_json::from_slice(&text).map_err(|error| fail(error.into()))? {
        Report::Compiled(facts) => Ok(facts),
        Report::Refused(sentence) => Err(Error::new(Kind::Invalid, sentence)),
    }
}

/// The first thing a failed compiler said, as the end of a sentence.
async fn last_words(compiler: &linux::Sandbox) -> String {
    let Some(mut output) = compiler.output() else { return String::new() };
    let chunk = tokio::time::timeout(Duration::from_secs(1), output.peek()).await;
    match chunk {
        Ok(Ok(Some(chunk))) => format!(": {}", String::from_utf8_lossy(&chunk.bytes).trim()),
        _ => String::new(),
    }
}
