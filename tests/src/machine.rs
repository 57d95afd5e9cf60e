//! A whole machine with a kernel of its own, emulated: Debian's cloud kernel, one disk, two serial lines. For what the
//! kernel under the suites cannot show, such as cgroups that are v2 alone. Slow (a tenth of this machine), so a suite
//! boots it once and its cases judge what was said.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::command;
use crate::guest;
use crate::harness;
use crate::need;
use crate::node::Node;
use crate::program;

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

/// How long the emulated machine may take from its start to its end.
const DEADLINE: Duration = Duration::from_secs(300);

/// What one step of the machine's script left behind.
#[derive(Debug, Clone)]
pub struct Step {
    pub code: i32,
    pub text: String,
}

/// What a machine said on its second serial line, by the names of its steps.
#[derive(Debug)]
pub struct Transcript {
    steps: HashMap<String, Step>,
}

impl Transcript {
    /// Boots a machine: `init` runs from its initial memory, with the kernel's modules below `/modules`, and goes on to
    /// `/machine.sh` on the disk, where busybox, the program under test and the images `probe` and `busybox` lie.
    ///
    /// # Errors
    /// When the machine cannot be made or does not end by itself in time.
    pub fn of(init: &str, script: &str) -> Result<Transcript> {
        let folder = tempfile::Builder::new().prefix("proa-test-machine-").tempdir()?;
        let kernel = program::kernel()?;
        let memory = folder.path().join("memory.cpio");
        fs::write(&memory, initial_memory(init, &kernel)?)?;
        let disk = disk(&folder, script)?;
        let said = folder.path().join("said");
        let emulator = need::peer(EMULATOR).with_context(|| format!("`{EMULATOR}` is not installed"))?;
        let mut line = Command::new(emulator);
        line.args(["-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"]);
        line.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial"]);
        line.arg(format!("file:{}", said.display()))
            .arg("-kernel")
            .arg(kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(memory);
        line.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
        line.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
        let output = command::run(&mut line, DEADLINE)?.success()?;
        let said = fs::read_to_string(&said)?;
        ensure!(said.lines().any(|line| line == "@over"), "the machine ended before its script did: {output}\n{said}");
        Ok(Transcript { steps: steps(&said)? })
    }

    /// What the step `name` left behind.
    ///
    /// # Errors
    /// When there was no such step.
    pub fn step(&self, name: &str) -> Result<&Step> {
        self.steps.get(name).with_context(|| format!("the machine's script has no step `{name}`"))
    }
}

/// The emulator's program.
pub const EMULATOR: &str = "qemu-system-x86_64";
/// What makes a file system from a folder.
pub const DISK_MAKER: &str = "mke2fs";

fn steps(said: &str) -> Result<HashMap<String, Step>> {
    let mut steps = HashMap::new();
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("@begin ") else { continue };
        let end = format!("@end {name} ");
        let mut text = Vec::new();
        let code = loop {
            let line = lines.next().with_context(|| format!("the step `{name}` has no end"))?;
            match line.strip_prefix(&end) {
                Some(code) => break code.parse()?,
                None => text.push(line),
            }
        };
        let text = text.join("\n").trim_end().to_owned();
        steps.insert(name.to_owned(), Step { code, text });
    }
    Ok(steps)
}

/// A disk in a file: what `script` needs, as an ext4 file system (layers on tmpfs cannot be idmapped before Linux 6.3).
fn disk(folder: &TempDir, script: &str) -> Result<PathBuf> {
    let root = folder.path().join("root");
    for name in ["bin", "images", "proc", "sys", "dev", "tmp", "run", "root", "mnt", "var/lib"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    fs::copy(harness::program(), root.join("bin/proa"))?;
    for library in libraries(harness::program())? {
        let copy = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(copy.parent().context("a library lies in a folder")?)?;
        fs::copy(library, copy)?;
    }
    guest::busybox_image()?.write_layout(&root.join("images/busybox"), "docker.io/library/busybox:latest")?;
    copy_tree(guest::probe_layout(&Node::asleep()?)?, &root.join("images/probe"))?;
    fs::write(root.join("machine.sh"), script)?;
    fs::set_permissions(root.join("machine.sh"), fs::Permissions::from_mode(0o755))?;
    let disk = folder.path().join("disk");
    // Sparse: only what is written takes place.
    File::create(&disk)?.set_len(1 << 30)?;
    let maker = need::peer(DISK_MAKER).with_context(|| format!("`{DISK_MAKER}` is not installed"))?;
    let mut line = Command::new(maker);
    line.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]).arg(&root).arg(&disk);
    command::run(&mut line, Duration::from_secs(60))?.success()?;
    Ok(disk)
}

/// The shared libraries of `program` with the loader, by path; none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = command::run(Command::new("ldd").arg(program), Duration::from_secs(10))?;
    Ok(output.text().split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The archive the kernel unpacks into its first memory: busybox, `init` and the modules.
fn initial_memory(init: &str, kernel: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder("bin");
    archive.folder("modules");
    archive.file("bin/busybox", &fs::read("/bin/busybox").context("reading /bin/busybox (Debian: busybox-static)")?);
    archive.file("init", init.as_bytes());
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

/// An archive in the kernel's own format (cpio "newc": Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, 0o100_755, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len(), name.len() + 1);
        // Inode, mode, uid, gid, links, time, size, four device numbers, length of the name, checksum (unused).
        let numbers = [self.entries as usize, mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        numbers.iter().for_each(|number| self.bytes.extend_from_slice(format!("{number:08X}").as_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
