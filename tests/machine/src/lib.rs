//! A whole machine with a kernel of its own, emulated: Debian's cloud kernel, a disk, two serial lines. For what the
//! kernel under the suites cannot show, such as cgroups that are v2 alone, or systemd as the first program. Slow (a tenth
//! of this machine), so a suite boots it once and its cases judge what was said. Knows no program of ours.
#![forbid(unsafe_code)]

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

mod archive;
mod fetched;
mod transcript;

use archive::Archive;
pub use fetched::{kernel, systemd};
pub use transcript::{Step, Transcript};

/// The emulator's program.
pub const EMULATOR: &str = "qemu-system-x86_64";
/// What makes a file system from a folder.
pub const DISK_MAKER: &str = "mke2fs";

/// First program of the machine, from its initial memory.
const INIT: &str = include_str!("init.sh");

/// The kernel's modules that the disk, its file system and the containers on it need, in the order of their loading.
const MODULES: [&str; 7] = [
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
    "overlayfs/overlay",
];

/// How many seconds the emulated machine may take from its start to its end: ten times what it takes alone.
const DEADLINE: &str = "1200";

/// What runs `/machine.sh` of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Nothing else: the script is the first program, and the disk is the root.
    Script,
    /// A service of systemd, on a Debian of its own; the disk is at `/run/machine` there.
    Systemd,
}

/// A machine that is being put together.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
    root: PathBuf,
}

impl Machine {
    /// With the usual folders and busybox.
    ///
    /// # Errors
    /// When there is no busybox, or no place.
    pub fn new() -> Result<Machine> {
        let folder = tempfile::Builder::new().prefix("proa-test-machine-").tempdir()?;
        let root = folder.path().join("root");
        for name in ["bin", "proc", "sys", "dev", "tmp", "run", "root", "mnt", "var/lib"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("copy /bin/busybox (Debian: busybox-static)")?;
        Ok(Machine { folder, root })
    }

    /// The folder that becomes the disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a program into `/bin`, with the shared libraries it needs.
    ///
    /// # Errors
    /// When a file of it cannot be copied.
    pub fn add_program(&self, program: &Path, name: &str) -> Result<()> {
        fs::copy(program, self.root.join("bin").join(name)).with_context(|| format!("copy `{}`", program.display()))?;
        for library in libraries(program)? {
            let copy = self.root.join(library.strip_prefix("/")?);
            fs::create_dir_all(copy.parent().context("a library lies in a folder")?)?;
            fs::copy(library, copy)?;
        }
        Ok(())
    }

    /// Boots it, runs `script` and waits for its end.
    ///
    /// # Errors
    /// When the machine cannot be made or does not end by itself in time.
    pub fn boot(self, first: First, script: &str) -> Result<Transcript> {
        fs::write(self.root.join("machine.sh"), script)?;
        fs::set_permissions(self.root.join("machine.sh"), fs::Permissions::from_mode(0o755))?;
        let kernel = kernel()?;
        let memory = self.folder.path().join("memory.cpio");
        fs::write(&memory, initial_memory(&kernel)?)?;
        let disk = self.folder.path().join("disk");
        make_disk(&self.root, &disk)?;
        let said = self.folder.path().join("said");
        let mut line = emulator(&kernel, &memory, &said)?;
        line.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
        let mut words = "console=ttyS0 quiet panic=-1 mitigations=off".to_owned();
        if first == First::Systemd {
            // What it writes there is forgotten.
            line.arg("-drive").arg(format!("file={},if=virtio,format=raw,snapshot=on", systemd()?.display()));
            words += " first=systemd systemd.unit=machine.service";
        }
        let output = line.args(["-append", &words]).output()?;
        let console = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "the emulator ended with {}: {console}", output.status);
        let said = fs::read_to_string(&said)?;
        ensure!(said.lines().any(|line| line == "@over"), "the machine ended before its script did: {console}\n{said}");
        Transcript::parse(&said)
    }
}

/// Where a program lies.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/bin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn emulator(kernel: &Path, memory: &Path, said: &Path) -> Result<Command> {
    let emulator = find(EMULATOR).with_context(|| format!("`{EMULATOR}` is not installed"))?;
    let mut line = Command::new("timeout");
    line.arg(DEADLINE).arg(emulator);
    line.args(["-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    line.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial"]);
    line.arg(format!("file:{}", said.display()));
    line.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(memory);
    line.stdin(std::process::Stdio::null());
    Ok(line)
}

/// An ext4 file system in a file (layers on tmpfs cannot be idmapped before Linux 6.3).
fn make_disk(root: &Path, disk: &Path) -> Result<()> {
    // Sparse: only what is written takes place.
    File::create(disk)?.set_len(1 << 30)?;
    let maker = find(DISK_MAKER).with_context(|| format!("`{DISK_MAKER}` is not installed"))?;
    let mut line = Command::new(maker);
    line.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]).arg(root).arg(disk);
    succeeds(&mut line)
}

/// Runs a command to its end; what it said is in the error.
fn succeeds(line: &mut Command) -> Result<()> {
    let output = line.output().with_context(|| format!("start {line:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line:?} ended with {}: {said}", output.status);
    Ok(())
}

/// The shared libraries of `program` with the loader, by path; none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// Busybox, the first program and the modules.
fn initial_memory(kernel: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder("bin");
    archive.folder("modules");
    archive.file("bin/busybox", &fs::read("/bin/busybox").context("read /bin/busybox (Debian: busybox-static)")?);
    archive.file("init", INIT.as_bytes());
    for module in MODULES {
        let name = module.rsplit('/').next().unwrap_or(module);
        archive.file(&format!("modules/{name}.ko"), &module_file(kernel, module)?);
    }
    Ok(archive.finish())
}

fn module_file(kernel: &Path, module: &str) -> Result<Vec<u8>> {
    for area in ["drivers", "fs"] {
        let path = kernel.join("modules").join(area).join(format!("{module}.ko"));
        if path.exists() {
            return Ok(fs::read(path)?);
        }
    }
    bail!("the kernel package has no module `{module}`")
}
