//! Real programs that nobody here wrote: made once and kept outside the clone, in `$XDG_CACHE_HOME/proa-tests`.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command;
use crate::need;

/// A program from the crate registry that runs on WASI 0.1.
#[derive(Debug)]
pub struct Wasi {
    /// The crate, and its exact version.
    pub package: &'static str,
    pub version: &'static str,
    /// The file it installs, without `.wasm`.
    pub program: &'static str,
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where what was made once is kept.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("proa-tests");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The program's module, installed on first use.
///
/// # Errors
/// With the end of cargo's words when it cannot be built here.
pub fn wasi(wasi: &Wasi) -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let folder = cache()?.join("wasi").join(format!("{}-{}", wasi.package, wasi.version));
    let module = folder.join("bin").join(format!("{}.wasm", wasi.program));
    if module.exists() {
        return Ok(module);
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["install", "--quiet", "--locked", "--target", "wasm32-wasip1", "--version", wasi.version, "--root"]);
    cargo.arg(&folder).arg(wasi.package);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name == "CARGO_TARGET_DIR" || name.starts_with("CARGO_PKG") || name.starts_with("CARGO_BIN") {
            cargo.env_remove(&*name);
        }
    }
    let output = command::run(&mut cargo, Duration::from_secs(1200))?.success()?;
    ensure!(module.exists(), "cargo installed no `{}`: {output}", module.display());
    Ok(module)
}

/// A tar archive of a Debian root with python3 and redis-server, made on first use.
///
/// # Errors
/// When debootstrap is not installed, not allowed, or fails.
pub fn debian() -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let archive = cache()?.join("debian-bookworm-python3-redis.tar");
    if archive.exists() {
        return Ok(archive);
    }
    let debootstrap = need::peer("debootstrap").context("`debootstrap` is not installed")?;
    if !rustix::process::geteuid().is_root() {
        bail!("debootstrap makes files of other owners, which an ordinary user cannot");
    }
    let fresh = archive.with_extension("tar.new");
    let folder = tempfile::Builder::new().prefix("proa-test-debian-").tempdir()?;
    let root = folder.path().join("root");
    let mut line = Command::new(debootstrap);
    line.args(["--variant=minbase", "--include=python3,redis-server", "bookworm"]).arg(&root).arg(mirror());
    // dpkg inside must find the usual folders, whatever the caller's PATH is.
    line.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
    command::run(&mut line, Duration::from_secs(1200))?.success()?;
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--one-file-system", "--exclude=./dev/*", "--exclude=./var/cache/apt/archives/*.deb"]);
    tar.arg("-cf").arg(&fresh).arg("-C").arg(&root).arg(".");
    command::run(&mut tar, Duration::from_secs(300))?.success()?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, &archive)?;
    Ok(archive)
}

/// The docker command line of Debian 13, unpacked on first use and not installed: the older of the two that are tried.
/// Its package lists lie in a folder of their own, so that this machine's apt never hears of that release.
///
/// # Errors
/// When the mirror cannot be reached.
pub fn older_docker() -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let folder = cache()?.join("docker-cli-trixie");
    let program = folder.join("usr/bin/docker");
    if program.exists() {
        return Ok(program);
    }
    let fresh = tempfile::Builder::new().prefix("docker-cli-new-").tempdir_in(cache()?)?;
    for name in ["lists/partial", "cache/archives/partial", "package"] {
        fs::create_dir_all(fresh.path().join(name))?;
    }
    let source = fresh.path().join("trixie.sources");
    let text = format!("Types: deb\nURIs: {}\nSuites: trixie\nComponents: main\nSigned-By: {KEYRING}\n", mirror());
    fs::write(&source, text)?;
    let option = |name: &str, value: &std::path::Path| format!("{name}={}", value.display());
    let options = [
        option("Dir::Etc::SourceList", &source),
        "Dir::Etc::SourceParts=-".to_owned(),
        option("Dir::State::Lists", &fresh.path().join("lists")),
        option("Dir::Cache", &fresh.path().join("cache")),
        // The folder belongs to whoever runs this, not to apt's own user.
        format!("APT::Sandbox::User={}", if rustix::process::geteuid().is_root() { "root" } else { "" }),
    ];
    let apt = |verb: &[&str]| {
        let mut line = Command::new("apt-get");
        line.arg("-q").args(options.iter().flat_map(|option| ["-o", option])).args(verb);
        command::run(line.current_dir(fresh.path().join("package")), Duration::from_secs(300))?.success()
    };
    apt(&["update"])?;
    apt(&["download", "docker-cli"])?;
    let archive = fs::read_dir(fresh.path().join("package"))?.next().context("apt fetched no file")??.path();
    let whole = fresh.path().join("whole");
    command::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&whole), Duration::from_secs(60))?.success()?;
    fs::rename(&whole, &folder)?;
    ensure!(program.exists(), "the package has no `{}`", program.display());
    Ok(program)
}

/// What Debian signs its releases with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirror this machine installs from.
fn mirror() -> String {
    let sources = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let old = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let new_style = sources.lines().find_map(|line| line.strip_prefix("URIs:")?.split_whitespace().next());
    let old_style =
        || old.lines().find_map(|line| line.strip_prefix("deb ")?.split(' ').find(|w| w.starts_with("http")));
    new_style.or_else(old_style).unwrap_or("http://deb.debian.org/debian").to_owned()
}
