//! Compiled code on disk.
//!
//! ```text
//! CACHE/
//!   sha256-<64 hex>-<engine version>-<16 hex of settings and processor>/   visible only when whole and synced
//!     code.cwasm   0444, mapped by workers
//!     facts.json   0444, what the compiler found
//!     seal         0444, the SHA-256 of both: what a disk has changed is not run, but compiled anew
//!   .new-<16 hex>/   being written; removed at the next opening
//! ```
//! The name is given here, on the trusted side; a compiler returns bytes and knows no name, and a worker sees only the
//! folder it is handed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use proa_wasm::Facts;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::kind_above;
use crate::error::{Error, Kind, Result};
use crate::runtime::Artifact;

const FACTS: &str = "facts.json";
const SEAL: &str = "seal";
const UNFINISHED: &str = ".new-";

/// Bytes of code that are stored of one module, 1 GiB. A compiler reads what anybody wrote and is not believed: what it
/// returns is copied to the host's disk, and a hole in its memory would cost it nothing.
const CODE_MAX: u64 = 1 << 30;

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    fingerprint: OnceCell<String>,
    /// Folders whose seal was found whole since this door opened.
    whole: Mutex<HashSet<PathBuf>>,
    /// One lock a digest being compiled, so that all who ask are served by one compilation.
    compiling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Cache {
    /// Opens or makes the cache, and removes what a killed door left unfinished.
    pub(super) fn open(folder: &Path) -> Result<Cache> {
        let fail = |error: io::Error| {
            Error::new(Kind::Failed, format!("open the cache of compiled code `{}`", folder.display())).caused_by(error)
        };
        fs::create_dir_all(folder).map_err(fail)?;
        for entry in fs::read_dir(folder).map_err(fail)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path()).map_err(fail)?;
            }
        }
        let fingerprint = OnceCell::new();
        Ok(Cache { folder: folder.to_owned(), fingerprint, whole: Mutex::default(), compiling: Mutex::default() })
    }

    /// The code of `digest`; on a miss `compile` fills a memfd with code and tells the facts.
    pub(super) async fn get<F>(&self, digest: &str, compile: impl FnOnce(OwnedFd, OwnedFd) -> F) -> Result<Artifact>
    where
        F: Future<Output = Result<Facts>>,
    {
        let folder = self.folder.join(self.name(digest).await?);
        if let Some(artifact) = self.read(&folder).await {
            return Ok(artifact);
        }
        let turn = self.turn(digest);
        let _turn = turn.lock.lock().await;
        if let Some(artifact) = self.read(&folder).await {
            return Ok(artifact);
        }
        self.fill(&folder, compile).await
    }

    /// Makes sure that the code in `folder` is what was stored there; read once a door's life.
    pub(super) async fn verify(&self, folder: &Path) -> Result<()> {
        if self.whole().contains(folder) || self.read(folder).await.is_some() {
            return Ok(());
        }
        let text = format!("the compiled code in `{}` is damaged or gone", folder.display());
        Err(Error::new(Kind::Failed, text).hint("create another container of this image: that compiles it anew"))
    }

    /// Removes the code of modules that are gone, but for folders in `used`; the bytes it freed. Blocks.
    pub(super) fn forget(&self, digests: &HashSet<String>, used: &HashSet<PathBuf>) -> u64 {
        let mut freed = 0;
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // `sha256-<hex>-<engine and settings>`: code of other engines goes too.
            let mut parts = name.splitn(3, '-');
            let (Some(algorithm), Some(hex), Some(_)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let path = entry.path();
            if !digests.contains(&format!("{algorithm}:{hex}")) || used.contains(&path) {
                continue;
            }
            let size: u64 = fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|f| f.metadata().ok())
                .map(|m| m.len())
                .sum();
            self.whole().remove(&path);
            // Out of sight first: nobody finds half of it, and what is left of it goes at the next opening.
            let doomed = self.folder.join(format!("{UNFINISHED}{name}"));
            if fs::rename(&path, &doomed).and_then(|()| fs::remove_dir_all(&doomed)).is_ok() {
                freed += size;
            }
        }
        freed
    }

    /// How many modules are here, and the folders of those whose seal does not fit. Blocks.
    pub(super) fn damaged(&self) -> (u64, Vec<PathBuf>) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        let folders: Vec<PathBuf> = entries.filter(|entry| !hidden(entry)).map(|entry| entry.path()).collect();
        let count = folders.len() as u64;
        let damaged: Vec<PathBuf> = folders.into_iter().filter(|folder| sealed_facts(folder).is_none()).collect();
        self.whole().retain(|folder| !damaged.contains(folder));
        (count, damaged)
    }

    /// A folder that exists is whole unless the disk changed it; one that cannot be read counts as missing and is compiled
    /// anew.
    async fn read(&self, folder: &Path) -> Option<Artifact> {
        let path = folder.to_owned();
        let facts = tokio::task::spawn_blocking(move || sealed_facts(&path)).await.ok()??;
        self.whole().insert(folder.to_owned());
        Some(artifact(folder, facts))
    }

    fn whole(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn<'a>(&'a self, digest: &'a str) -> Turn<'a> {
        let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { cache: self, digest, lock: Arc::clone(compiling.entry(digest.to_owned()).or_default()) }
    }

    async fn fill<F>(&self, folder: &Path, compile: impl FnOnce(OwnedFd, OwnedFd) -> F) -> Result<Artifact>
    where
        F: Future<Output = Result<Facts>>,
    {
        let memory = |name: &str| {
            rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
                .map_err(|errno| Error::new(Kind::Failed, "make memory for compiled code").caused_by(errno))
        };
        let (code, report) = (memory("code")?, memory("report")?);
        let kept = code.try_clone().map_err(|error| Error::new(Kind::Failed, "keep compiled code").caused_by(error))?;
        let facts = compile(code, report).await?;
        seal(&kept)?;
        let unfinished = self.folder.join(format!("{UNFINISHED}{}", super::workers::random_name()?));
        let written = write(&unfinished, folder, kept, &facts);
        written.map_err(|error| {
            let _ = fs::remove_dir_all(&unfinished);
            Error::new(Kind::Failed, format!("store compiled code in `{}`", folder.display())).caused_by(error)
        })?;
        Ok(artifact(folder, facts))
    }

    async fn name(&self, digest: &str) -> Result<String> {
        let plain = |digest: &str| digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_".contains(&byte));
        if digest.is_empty() || !plain(digest) {
            return Err(Error::new(Kind::Invalid, format!("`{digest}` is not a digest")));
        }
        let fingerprint = self.fingerprint.get_or_try_init(|| async {
            proa_wasm::fingerprint()
                .map_err(|error| Error::new(Kind::Failed, "name the engine's settings").caused_by(error))
        });
        Ok(format!("{}-{}", digest.replace(':', "-"), fingerprint.await?))
    }
}

/// One of those who wait for a digest's code. The last to go, served or cancelled, takes the entry along.
#[derive(Debug)]
struct Turn<'a> {
    cache: &'a Cache,
    digest: &'a str,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut compiling = self.cache.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own and this one; new ones are made under the map's lock.
        if Arc::strong_count(&self.lock) <= 2 {
            compiling.remove(self.digest);
        }
    }
}

/// Makes sure that code is of a bearable size and stays as it is while it is copied, whoever still holds it.
fn seal(code: &OwnedFd) -> Result<()> {
    let fail = |errno: rustix::io::Errno| Error::new(Kind::Failed, "seal compiled code").caused_by(errno);
    fcntl_add_seals(code, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW).map_err(fail)?;
    let size = fstat(code).map_err(fail)?.st_size;
    if u64::try_from(size).map_or(true, |size| size > CODE_MAX) {
        let text = format!("the compiled code is {size} bytes long; at most {CODE_MAX} are stored");
        return Err(Error::new(Kind::Invalid, text));
    }
    Ok(())
}

fn artifact(folder: &Path, facts: Facts) -> Artifact {
    Artifact { folder: folder.to_owned(), kind: kind_above(facts.kind), imports: facts.imports }
}

/// The facts in `folder`, if they and the code are those that were stored.
fn sealed_facts(folder: &Path) -> Option<Facts> {
    let facts = fs::read(folder.join(FACTS)).ok()?;
    let seal = fs::read(folder.join(SEAL)).ok()?;
    let found = seal_of(&facts, &mut File::open(folder.join(proa_wasm::CODE)).ok()?).ok()?;
    if found.as_bytes() != seal {
        return None;
    }
    serde_json::from_slice(&facts).ok()
}

fn seal_of(facts: &[u8], code: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update((facts.len() as u64).to_le_bytes());
    hasher.update(facts);
    let mut piece = vec![0; 128 << 10];
    loop {
        match code.read(&mut piece)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn write(unfinished: &Path, folder: &Path, code: OwnedFd, facts: &Facts) -> io::Result<()> {
    fs::create_dir(unfinished)?;
    let mut source = File::from(code);
    let facts = serde_json::to_vec_pretty(facts)?;
    io::Seek::rewind(&mut source)?;
    let seal = seal_of(&facts, &mut source)?;
    io::Seek::rewind(&mut source)?;
    finish(&unfinished.join(proa_wasm::CODE), |file| io::copy(&mut source, file).map(drop))?;
    finish(&unfinished.join(FACTS), |file| file.write_all(&facts))?;
    finish(&unfinished.join(SEAL), |file| file.write_all(seal.as_bytes()))?;
    File::open(unfinished)?.sync_all()?;
    match fs::rename(unfinished, folder) {
        // A folder that could not be read stands in the way.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            fs::remove_dir_all(folder)?;
            fs::rename(unfinished, folder)?;
        }
        other => other?,
    }
    File::open(folder.parent().unwrap_or(folder))?.sync_all()
}

fn finish(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    fill(&mut file)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("proa-cache-{}", super::super::workers::random_name().unwrap()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn facts() -> Facts {
        Facts { kind: proa_wasm::ModuleKind::Module, imports: vec!["wasi_snapshot_preview1".to_owned()] }
    }

    #[tokio::test]
    async fn requests_for_one_digest_are_served_by_one_compilation() {
        let folder = scratch();
        let cache = Cache::open(&folder).unwrap();
        let count = std::sync::atomic::AtomicU32::new(0);
        let compile = |code: OwnedFd, _report: OwnedFd| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                rustix::io::write(&code, b"native").unwrap();
                tokio::task::yield_now().await;
                Ok(facts())
            }
        };
        let (first, second) = tokio::join!(cache.get("sha256:ab", &compile), cache.get("sha256:ab", &compile));
        assert_eq!(first.unwrap().folder, second.unwrap().folder);
        assert_eq!(count.into_inner(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn code_with_a_changed_byte_is_compiled_anew_and_never_loaded() {
        let folder = scratch();
        let compile = |code: OwnedFd, _report: OwnedFd| async move {
            rustix::io::write(&code, b"native").unwrap();
            Ok(facts())
        };
        let made = Cache::open(&folder).unwrap().get("sha256:ab", compile).await.unwrap();
        for name in [proa_wasm::CODE, FACTS, SEAL] {
            let path = made.folder.join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[3] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            let cache = Cache::open(&folder).unwrap();
            assert_eq!(cache.verify(&made.folder).await.unwrap_err().kind(), Kind::Failed, "{name}");
            cache.get("sha256:ab", compile).await.unwrap();
            assert!(cache.verify(&made.folder).await.is_ok(), "{name}");
            assert_eq!(fs::read(made.folder.join(proa_wasm::CODE)).unwrap(), b"native");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn code_without_measure_is_not_copied() {
        let folder = scratch();
        let cache = Cache::open(&folder).unwrap();
        let swell = |code: OwnedFd, _report: OwnedFd| async move {
            rustix::fs::ftruncate(&code, CODE_MAX + 1).unwrap();
            Ok(facts())
        };
        assert_eq!(cache.get("sha256:ef", swell).await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_cancelled_request_leaves_no_turn_behind() {
        let folder = scratch();
        let cache = Cache::open(&folder).unwrap();
        let never = |_code: OwnedFd, _report: OwnedFd| std::future::pending();
        let mut request = Box::pin(cache.get("sha256:aa", never));
        let compiling = std::future::poll_fn(|context| {
            assert!(request.as_mut().poll(context).is_pending());
            match cache.compiling.lock().unwrap().len() {
                1 => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        });
        compiling.await;
        drop(request);
        assert_eq!(cache.compiling.lock().unwrap().len(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_refused_module_leaves_nothing_behind() {
        let folder = scratch();
        let cache = Cache::open(&folder).unwrap();
        let refuse = |_code: OwnedFd, _report: OwnedFd| async { Err(Error::new(Kind::Invalid, "no")) };
        assert_eq!(cache.get("sha256:cd", refuse).await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
