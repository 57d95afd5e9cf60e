//! What shells and manual readers are given is made of the commands themselves.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{Node, command, guest, need, wait};

pub(crate) fn completions_are_scripts_their_shells_take() -> Result<()> {
    let node = Node::shared()?;
    for shell in ["bash", "zsh", "fish"] {
        let script = node.proa(&["completion", shell])?.success()?;
        for word in ["container", "--security-opt", "--detach-keys"] {
            ensure!(script.text().contains(word.trim_start_matches('-')), "{shell} knows no {word}");
        }
        if let Some(program) = need::peer(shell) {
            let file = node.scratch().join(fresh_name(shell));
            fs::write(&file, &script.stdout)?;
            command::run(Command::new(program).arg("-n").arg(&file), wait::PATIENCE)?.success()?;
        }
    }
    Ok(())
}

/// bash completes verbs, flags and the names of containers.
pub(crate) fn bash_completes_names() -> Result<()> {
    let node = Node::shared()?;
    let name = fresh_name("completed");
    let made = node.proa(&["create", "--name", &name, node.probe()?, "out", "x"])?.success()?;
    let file = node.scratch().join(fresh_name("bash"));
    fs::write(&file, node.proa(&["completion", "bash"])?.success()?.stdout)?;
    let script = format!(
        "source {}; COMP_WORDS=(proa start {}); COMP_CWORD=2; _proa_named proa {} start; echo \"${{COMPREPLY[@]}}\"",
        guest::path(&file)?,
        &name[..9],
        &name[..9]
    );
    let folder = proa_tests::harness::program().parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).env("PROA_HOST", format!("unix://{}", node.socket().display()));
    bash.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let completed = command::run(&mut bash, wait::PATIENCE)?.success()?;
    ensure!(completed.text().split(' ').any(|word| word == name), "{completed}");
    node.proa(&["rm", &made.text()])?.success()?;
    Ok(())
}

pub(crate) fn every_command_has_a_manual_page() -> Result<()> {
    let node = Node::shared()?;
    let folder = node.scratch().join(fresh_name("man"));
    node.proa(&["man", guest::path(&folder)?])?.success()?;
    for page in ["proa.1", "proa-run.1", "proa-container-cp.1", "proa-volume-create.1"] {
        let text = fs::read_to_string(folder.join(page))?;
        ensure!(text.contains(".SH NAME"), "{page} is no manual page");
    }
    ensure!(fs::read_dir(&folder)?.count() > 80);
    Ok(())
}
