//! docker-py, and the tests its authors publish with it: installed by pip once and kept outside the clone, in versions
//! that are fixed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::need;
use crate::program::cache;

/// docker-py with all it needs, and pytest with all it needs, each exactly so.
const PACKAGES: &[&str] = &[
    "docker==7.2.0",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "idna==3.20",
    "pytest==9.2.0",
    "pytest-timeout==2.4.0",
    "iniconfig==2.3.1",
    "packaging==26.3",
    "pluggy==1.7.0",
    "Pygments==2.21.0",
];
/// The last release whose source archive holds the tests.
const TESTS: &str = "docker==7.0.0";
/// What building a source archive's metadata takes; pip fetches nothing beside it then.
const PATIENCE: Duration = Duration::from_secs(600);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The interpreter of an environment that has docker-py and pytest.
///
/// # Errors
/// When the machine has no Python that can make environments, or pip reaches no package index.
pub fn docker_py() -> Result<PathBuf> {
    let _turn = ONE_AT_A_TIME.lock();
    let folder = cache()?.join("docker-py-7.2.0");
    // An environment finds itself by where its interpreter lies, so it may be made elsewhere and moved when whole.
    let interpreter = Path::new("bin/python");
    if folder.exists() {
        return Ok(folder.join(interpreter));
    }
    let fresh = tempfile::Builder::new().prefix("docker-py-new-").tempdir_in(cache()?)?;
    let made = fresh.path().join("made");
    let python = need::peer("python3").context("`python3` is not installed")?;
    let mut make = Command::new(python);
    make.args(["-m", "venv"]).arg(&made);
    command::run(&mut make, PATIENCE)?.success().context("making an environment (Debian: python3-venv)")?;
    let mut install = Command::new(made.join(interpreter));
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]).args(PACKAGES);
    command::run(&mut install, PATIENCE)?.success().context("pip installs no docker-py")?;
    fs::rename(&made, &folder)?;
    Ok(folder.join(interpreter))
}

/// The folder whose `tests/integration` are docker-py's own tests.
///
/// # Errors
/// When pip cannot fetch them.
pub fn docker_py_tests() -> Result<PathBuf> {
    let interpreter = docker_py()?;
    let _turn = ONE_AT_A_TIME.lock();
    let folder = cache()?.join("docker-py-tests-7.0.0");
    if folder.exists() {
        return Ok(folder);
    }
    let fresh = tempfile::Builder::new().prefix("docker-py-tests-new-").tempdir_in(cache()?)?;
    let mut fetch = Command::new(interpreter);
    fetch.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]);
    fetch.arg(fresh.path()).arg(TESTS);
    command::run(&mut fetch, PATIENCE)?.success().context("pip fetches no source of docker-py")?;
    let archive = archive_in(fresh.path())?;
    let kept = fresh.path().join("kept");
    fs::create_dir(&kept)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(archive).arg("-C").arg(&kept).args(["--strip-components=1", "--wildcards", "*/tests/*"]);
    command::run(&mut unpack, PATIENCE)?.success()?;
    // One of their helpers asks whether a socket is one of this library's, which none is here.
    fs::write(kept.join("paramiko.py"), "class Channel:\n    pass\n")?;
    fs::rename(&kept, &folder)?;
    Ok(folder)
}

fn archive_in(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Ok(path);
        }
    }
    bail!("pip fetched no archive")
}
