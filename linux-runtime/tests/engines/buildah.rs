//! buildah: a working container whose commands are run by the runtime, and an image made of what they leave.

use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::command::{self, Output};
use crate::engine::{IMAGE, runtime};
use crate::{Case, image, left};

pub(crate) const CASES: [Case<Buildah>; 3] = [
    ("commands of a working container", commands),
    ("a build from a file of instructions", build),
    ("a terminal, volumes and rights", options),
];

/// Storage of its own with the image in it.
#[derive(Debug)]
pub(crate) struct Buildah {
    folder: TempDir,
}

impl Buildah {
    pub(crate) fn start() -> Result<Buildah> {
        let folder = tempfile::Builder::new().prefix("proa-test-buildah-").tempdir()?;
        let buildah = Buildah { folder };
        let archive = image::archive(buildah.folder.path())?;
        let scratch = buildah.ask(&["from", "scratch"])?.text()?;
        buildah.ask(&["add", "--quiet", &scratch, &archive.to_string_lossy(), "/"])?.text()?;
        buildah.ask(&["config", "--env", "PATH=/bin", &scratch])?.text()?;
        buildah.ask(&["commit", "--quiet", "--rm", &scratch, IMAGE])?.text()?;
        Ok(buildah)
    }

    fn command(&self) -> Result<Command> {
        let path = self.folder.path();
        let mut buildah = command::program("buildah")?;
        buildah.arg("--root").arg(path.join("storage")).arg("--runroot").arg(path.join("run"));
        buildah.args(["--storage-driver", "vfs"]).env("BUILDAH_ISOLATION", "oci").env("BUILDAH_RUNTIME", runtime());
        Ok(buildah)
    }

    fn ask(&self, words: &[&str]) -> Result<Output> {
        command::run(self.command()?.args(words))
    }

    /// A working container of the image, and `run` in it with `options`.
    fn from(&self) -> Result<String> {
        self.ask(&["from", "--pull-never", IMAGE])?.text()
    }

    fn run(&self, container: &str, options: &[&str], program: &[&str]) -> Result<Output> {
        self.ask(&[&["run", "--network", "none"], options, &[container, "--"], program].concat())
    }

    /// Its working containers go with their folder; mounts must not be left.
    pub(crate) fn end(&self) -> Result<()> {
        self.ask(&["rm", "--all"])?.text()?;
        let word = self.folder.path().to_string_lossy().into_owned();
        let mounts = left::mounts(&word)?;
        ensure!(mounts.iter().all(|line| line.contains("/storage/overlay ")), "mounts are left: {mounts:?}");
        ensure!(left::processes(&word).is_empty(), "processes are left: {:?}", left::processes(&word));
        ensure!(left::cgroups("buildah").is_empty(), "cgroups are left: {:?}", left::cgroups("buildah"));
        // Nothing drops a static's folder.
        Ok(std::fs::remove_dir_all(self.folder.path())?)
    }
}

fn commands(buildah: &Buildah) -> Result<()> {
    let container = buildah.from()?;
    let output = buildah.run(&container, &[], &["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!(output.code == Some(7) && output.out == "out\n" && output.err.starts_with("err\n"), "{output}");
    buildah.run(&container, &["--env", "SHIP=proa"], &["sh", "-c", "echo $SHIP > /made"])?.text()?;
    let output = buildah.run(&container, &["--user", "1000"], &["sh", "-c", "cat /made; id -u; touch /no"])?;
    ensure!(output.out == "proa\n1000\n" && output.code == Some(1), "{output}");
    let output = buildah.run(&container, &[], &["/no/such/program"])?;
    ensure!(output.code != Some(0) && output.err.contains("/no/such/program"), "{output}");
    Ok(())
}

fn build(buildah: &Buildah) -> Result<()> {
    let context = buildah.folder.path().join("context");
    std::fs::create_dir(&context)?;
    let instructions = format!(
        "FROM {IMAGE}\nRUN echo hull > /hull && chmod 600 /hull\nUSER sailor\nWORKDIR /tmp/work\n\
         RUN test \"$(id -u)\" = 1000 && test \"$(pwd)\" = /tmp/work\nUSER root\n\
         RUN [\"sh\", \"-c\", \"cat /hull > /keel\"]\nCMD [\"cat\", \"/keel\"]\n"
    );
    std::fs::write(context.join("Containerfile"), instructions)?;
    let folder = context.to_string_lossy();
    buildah.ask(&["build", "--pull-never", "--network", "none", "--tag", "built", &folder])?.text()?;
    let container = buildah.ask(&["from", "--pull-never", "localhost/built"])?.text()?;
    ensure!(buildah.run(&container, &[], &["cat", "/keel"])?.text()? == "hull");
    std::fs::write(context.join("Containerfile"), format!("FROM {IMAGE}\nRUN exit 5\n"))?;
    let failed = buildah.ask(&["build", "--pull-never", "--network", "none", &folder])?;
    ensure!(failed.code == Some(5), "a failing instruction: {failed}");
    Ok(())
}

fn options(buildah: &Buildah) -> Result<()> {
    let container = buildah.from()?;
    let volume = buildah.folder.path().join("volume");
    std::fs::create_dir(&volume)?;
    let volume_option = format!("{}:/volume", volume.display());
    let script = "tty; echo kept > /volume/file; grep CapEff /proc/self/status; exit 4";
    let options = ["--terminal", "--volume", &volume_option, "--cap-drop", "all"];
    let output = buildah.run(&container, &options, &["sh", "-c", script])?;
    ensure!(output.code == Some(4) && output.out.contains("/dev/pts/0"), "{output}");
    ensure!(output.out.contains("0000000000000000"), "{output}");
    ensure!(std::fs::read_to_string(volume.join("file"))? == "kept\n");
    Ok(())
}
