//! Lowers one more program in a running container. What a native one needs is its process and its filter, for all else
//! is there already; a Wasm one is made like its container once more.

use std::path::Path;

use bollard_stubs::models::ExecConfig;
use oci_spec::runtime::{LinuxBuilder, SpecBuilder};
use proa_sandbox::Workload;

use crate::error::Result;
use crate::spec::namespaces::Joined;
use crate::spec::{built, process, security};
use crate::state::record::{Content, Record, User};

/// The workload of `exec` in the container of `record`, whose files lie in `folder`; `module` is another module than the
/// container's own.
pub fn workload(
    record: &Record,
    folder: &Path,
    exec: &ExecConfig,
    user: &User,
    module: Option<&Content>,
) -> Result<Workload> {
    let mut record = record.clone();
    if exec.privileged == Some(true) {
        record.host_config.privileged = Some(true);
    }
    if let Some(module) = module {
        record.content = module.clone();
    }
    let process = process::exec(&record, exec, user)?;
    let mut workload = super::workload(&record, folder, Joined::SUPPOSED)?;
    if record.isolation.is_wasm() {
        workload.spec.set_process(Some(process));
    } else {
        let mut linux = LinuxBuilder::default();
        if let Some(filter) = security::filter(&record)? {
            linux = linux.seccomp(filter);
        }
        let spec = SpecBuilder::default().version(super::VERSION).process(process).linux(built(linux.build())?);
        workload.spec = built(spec.build())?;
    }
    workload.stdin = exec.attach_stdin.unwrap_or(false);
    Ok(workload)
}

/// What a Wasm program gets as arguments, and the module of the image it names, if that is not the container's own.
///
/// `exec C [MODULE] ARGS`: the first word is the program's name where it is the container's own or another module among
/// the image's files; else all words are arguments of the container's own program.
pub fn wasm_arguments(record: &Record, cmd: &[String]) -> (Vec<String>, Option<String>) {
    let own = crate::request::arguments(&record.config).into_iter().next().unwrap_or_default();
    let Some(first) = cmd.first() else { return (vec![own], None) };
    let file = |text: &str| text.rsplit('/').next().unwrap_or(text).trim_end_matches(".wasm").to_owned();
    if *first == own || !own.is_empty() && file(first) == file(&own) && !first.contains('/') {
        return (cmd.to_vec(), None);
    }
    if first.ends_with(".wasm") {
        return (cmd.to_vec(), Some(first.clone()));
    }
    let mut all = vec![own];
    all.extend(cmd.iter().cloned());
    (all, None)
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Isolation;

    use super::*;

    #[test]
    fn the_first_word_is_a_module_only_where_it_names_one() {
        let mut record = crate::spec::tests::record(Isolation::Wasm);
        record.config.entrypoint = Some(vec!["/app.wasm".to_owned()]);
        record.config.cmd = Some(vec!["serve".to_owned()]);
        let check = |words: &[&str], arguments: &[&str], module: Option<&str>| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (found, named) = wasm_arguments(&record, &words);
            assert_eq!((found, named.as_deref()), (arguments.iter().map(|word| (*word).to_owned()).collect(), module));
        };
        check(&["/app.wasm", "x"], &["/app.wasm", "x"], None);
        check(&["app", "x"], &["app", "x"], None);
        check(&["app.wasm"], &["app.wasm"], None);
        check(&["list", "x"], &["/app.wasm", "list", "x"], None);
        check(&["/tools/check.wasm", "x"], &["/tools/check.wasm", "x"], Some("/tools/check.wasm"));
    }
}
