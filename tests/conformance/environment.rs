//! What a guest is told: arguments, environment, working directory.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::{Suite, Under, cases, command, guest, wait};

use super::NATIVE;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            arguments_arrive_unchanged,
            variables_arrive_with_the_last_word_winning,
            a_variable_file_is_read,
            a_bare_name_takes_the_caller_s_value,
            nothing_of_the_host_s_environment_leaks_in,
            entrypoint_replaces_the_image_s,
        ],
    );
    suite.under(NATIVE, &[], cases![the_working_directory_is_made_and_entered, docker_s_own_variables_are_set]);
}

fn arguments_arrive_unchanged(under: &Under) -> Result<()> {
    let arguments = ["a b", "", "--flag=1", "-x", "ünïcödé", "new\nline", "'quoted'", "$HOME", "*"];
    let output = under.node.run(under.isolation, &[], &[&["args"], &arguments[..]].concat())?.success()?;
    let expected: String = arguments.iter().map(|argument| format!("{argument}\n")).collect();
    ensure!(output.stdout == expected.as_bytes(), "{output}");
    Ok(())
}

fn variables_arrive_with_the_last_word_winning(under: &Under) -> Result<()> {
    let flags = ["-e", "A=1", "--env", "B=two words", "-e", "A=3", "-e", "EMPTY=", "-e", "SIGN=a=b"];
    let seen = under.node.run(under.isolation, &flags, &["env"])?.success()?.lines();
    for wanted in ["A=3", "B=two words", "EMPTY=", "SIGN=a=b"] {
        ensure!(seen.iter().any(|line| line == wanted), "`{wanted}` is not among {seen:?}");
    }
    ensure!(!seen.iter().any(|line| line == "A=1"), "{seen:?}");
    Ok(())
}

fn a_variable_file_is_read(under: &Under) -> Result<()> {
    let file = under.node.scratch().join(format!("variables-{}", under.isolation));
    fs::write(&file, "# a comment\n\nFROM_FILE=yes\nBOTH=file\n")?;
    let flags = ["--env-file", guest::path(&file)?, "-e", "BOTH=typed"];
    let seen = under.node.run(under.isolation, &flags, &["env"])?.success()?.lines();
    ensure!(seen.iter().any(|line| line == "FROM_FILE=yes"), "{seen:?}");
    ensure!(seen.iter().any(|line| line == "BOTH=typed"), "{seen:?}");
    Ok(())
}

fn a_bare_name_takes_the_caller_s_value(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &["-e", "PROA_TEST_KNOWN", "-e", "PROA_TEST_UNKNOWN"], &["env"])?;
    let mut command = under.node.command(&line);
    command.env("PROA_TEST_KNOWN", "from the caller");
    let seen = command::run(&mut command, wait::PATIENCE)?.success()?.lines();
    ensure!(seen.iter().any(|line| line == "PROA_TEST_KNOWN=from the caller"), "{seen:?}");
    ensure!(!seen.iter().any(|line| line.starts_with("PROA_TEST_UNKNOWN")), "{seen:?}");
    Ok(())
}

/// CVE-2026-57231 is this class.
fn nothing_of_the_host_s_environment_leaks_in(under: &Under) -> Result<()> {
    let seen = under.node.run(under.isolation, &[], &["env"])?.success()?.lines();
    let allowed = ["PATH=", "HOSTNAME=", "HOME=", "TERM="];
    for line in &seen {
        ensure!(allowed.iter().any(|name| line.starts_with(name)), "`{line}` came from nowhere the user named");
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let host_path = std::env::var("PATH").unwrap_or_default();
    ensure!(!seen.contains(&format!("PATH={host_path}")), "the host's PATH leaked in; the host's HOME is {home}");
    Ok(())
}

fn entrypoint_replaces_the_image_s(under: &Under) -> Result<()> {
    if under.isolation.is_wasm() {
        return replaced_by_nothing(under);
    }
    let image = guest::bare(under.node)?;
    let line =
        ["run", "--rm", "--isolation", under.isolation.name(), "--entrypoint", "/second", &image, "out", "replaced"];
    let output = under.node.proa(&line)?.success()?;
    ensure!(output.text() == "replaced", "{output}");
    Ok(())
}

/// A Wasm image has one entry point, its module: another is refused in a sentence or taken as the guest's own name.
fn replaced_by_nothing(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["--entrypoint", "/other.wasm"], &["out", "x"])?;
    if output.code() != Some(0) {
        ensure!(output.code() == Some(125) || output.code() == Some(127), "{output}");
        output.keeps_its_composure()?;
    }
    Ok(())
}

fn the_working_directory_is_made_and_entered(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["-w", "/deep/inside"], &["cwd"])?.success()?;
    ensure!(output.text() == "/deep/inside", "{output}");
    let output = under.node.run(under.isolation, &[], &["cwd"])?.success()?;
    ensure!(output.text() == "/", "{output}");
    let relative = under.node.run(under.isolation, &["-w", "not/absolute"], &["cwd"])?;
    relative.refused(125, &["not/absolute"])?;
    Ok(())
}

fn docker_s_own_variables_are_set(under: &Under) -> Result<()> {
    let image = guest::bare(under.node)?;
    let line = ["run", "--rm", "--isolation", under.isolation.name(), "--hostname", "boat", &image, "env"];
    let seen = under.node.proa(&line)?.success()?.lines();
    for wanted in ["HOSTNAME=boat", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] {
        ensure!(seen.iter().any(|line| line == wanted), "`{wanted}` is not among {seen:?}");
    }
    Ok(())
}
