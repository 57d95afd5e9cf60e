//! What Debian gives and is kept outside the clone, in `$XDG_CACHE_HOME/proa-tests`: made on first use.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{DISK_MAKER, find, succeeds};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A folder with Debian's cloud kernel, `vmlinuz` and its `modules`. The package is unpacked, not installed: what this
/// machine boots stays as it is.
///
/// # Errors
/// When apt does not know or cannot fetch it.
pub fn kernel() -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let folder = cache()?.join("kernel-cloud-amd64");
    if folder.exists() {
        return Ok(folder);
    }
    let depends =
        Command::new("apt-cache").args(["depends", "--important", "linux-image-cloud-amd64"]).output()?.stdout;
    let depends = String::from_utf8_lossy(&depends).into_owned();
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.context("apt knows no `linux-image-cloud-amd64`")?;
    let fresh = fresh("kernel-new-")?;
    succeeds(Command::new("apt-get").args(["download", "-q", package]).current_dir(&fresh))?;
    let archive = fs::read_dir(&fresh)?.next().context("apt fetched no file")??.path();
    let whole = fresh.path().join("whole");
    succeeds(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&whole))?;
    let release = package.trim_start_matches("linux-image-");
    let kept = fresh.path().join("kept");
    fs::create_dir(&kept)?;
    fs::rename(whole.join("boot").join(format!("vmlinuz-{release}")), kept.join("vmlinuz"))?;
    fs::rename(whole.join("lib/modules").join(release).join("kernel"), kept.join("modules"))?;
    keep(&kept, &folder)?;
    Ok(folder)
}

/// A disk with Debian and systemd.
///
/// # Errors
/// When debootstrap is not installed, not allowed, or fails.
pub fn systemd() -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let disk = cache()?.join("debian-bookworm-systemd.ext4");
    if disk.exists() {
        return Ok(disk);
    }
    let debootstrap = find("debootstrap").context("`debootstrap` is not installed")?;
    let fresh = fresh("systemd-new-")?;
    let root = fresh.path().join("root");
    let mut line = Command::new(debootstrap);
    line.args(["--variant=minbase", "--include=systemd", "bookworm"]).arg(&root).arg(mirror()?);
    // dpkg inside must find the usual folders, whatever the caller's PATH is.
    line.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
    succeeds(&mut line)?;
    for name in ["var/cache/apt", "var/lib/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
        fs::remove_dir_all(root.join(name)).with_context(|| format!("remove `/{name}` of the Debian"))?;
    }
    let made = fresh.path().join("disk");
    File::create(&made)?.set_len(1 << 29)?;
    let maker = find(DISK_MAKER).with_context(|| format!("`{DISK_MAKER}` is not installed"))?;
    succeeds(Command::new(maker).args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"]).arg(&root).arg(&made))?;
    keep(&made, &disk)?;
    ensure!(disk.exists(), "the disk was not made");
    Ok(disk)
}

/// Where what was made once is kept.
fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("proa-tests");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn fresh(prefix: &str) -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(cache()?)?)
}

/// Gives what was made its name; another suite may have been as quick.
fn keep(made: &Path, name: &Path) -> Result<()> {
    match fs::rename(made, name) {
        Err(error) if !name.exists() => Err(error).with_context(|| format!("keep `{}`", name.display())),
        _ => Ok(()),
    }
}

/// The mirror this machine installs from.
fn mirror() -> Result<String> {
    let sources = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let old = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let new_style = sources.lines().find_map(|line| line.strip_prefix("URIs:")?.split_whitespace().next());
    let old_style =
        || old.lines().find_map(|line| line.strip_prefix("deb ")?.split(' ').find(|w| w.starts_with("http")));
    match new_style.or_else(old_style) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("found no Debian mirror in /etc/apt"),
    }
}
