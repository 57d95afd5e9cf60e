//! Volumes: directories that outlive containers, by name.
//!
//! ```text
//! ROOT/volumes/NAME/volume.json    what it is and its seal, synced
//! ROOT/volumes/NAME/_data/         its files; what containers mount
//! ROOT/volumes/NAME/fill/          an image's files on their way into an empty volume; removed when a host starts
//! ROOT/volumes/NAME/filled/        the same, all of them there: what is left is moved to _data when a host starts
//! ROOT/volumes/.NAME.HEX/          on its way in or out; removed when a host starts
//! ```
//! Whole or absent: a volume is made and removed under a name with a dot and renamed, so that a host that is killed at any
//! moment leaves a volume or none. ROOT/volumes is 0700, for guests leave setuid programs in it.
//!
//! **Owners.** What lies in a volume belongs on the node to whom it belongs outside: under `linux-userns` an empty volume
//! is given to the root of the guest's user namespace (uid 100000), and a stranger's guest thus never makes a file of the
//! node's root, which an idmapped mount would let it do. The price: a volume that `linux` filled belongs to nobody under
//! `linux-userns`. Must not know containers, the API, or what mounts a volume.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::state::seal::{sealed, unsealed};
use crate::timestamp::unix_nanos;

mod check;
pub mod fill;

/// Docker's label on volumes that nobody named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
const FILE: &str = "volume.json";
const DATA: &str = "_data";
/// A folder's name has at most 255 bytes, and on the way in or out it is longer.
const NAME_MAX: usize = 200;

/// One volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    pub labels: HashMap<String, String>,
    /// As given to the driver `local`.
    pub options: HashMap<String, String>,
}

/// What a volume is made from.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `None` for 64 hex digits nobody chose.
    pub name: Option<String>,
    pub driver: String,
    pub labels: HashMap<String, String>,
    pub options: HashMap<String, String>,
}

/// Every volume of a root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Volumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    table: Mutex<Table>,
    /// Held by whoever makes or removes one.
    turn: tokio::sync::Mutex<()>,
    /// Held by whoever fills one: of two containers that are made at once with the same new volume, one does.
    filling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: BTreeMap<String, Arc<Volume>>,
    /// How many containers that are being made count on it.
    pins: HashMap<String, usize>,
}

/// Keeps a volume from being removed until a container's record names it.
#[derive(Debug)]
pub struct Pin {
    volumes: Volumes,
    pub volume: Arc<Volume>,
    /// It did not exist before.
    pub made: bool,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = self.volumes.lock();
        let left = table.pins.get_mut(&self.volume.name).map_or(0, |pins| {
            *pins -= 1;
            *pins
        });
        if left == 0 {
            table.pins.remove(&self.volume.name);
        }
    }
}

impl Volume {
    /// Whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// The node's directory it stands for, by its options.
    pub fn device(&self) -> Option<&str> {
        self.options.get("device").map(String::as_str)
    }
}

impl Volumes {
    /// Opens the volumes below `root`, and ends what a host that was killed had begun.
    pub fn open(root: &Path) -> Result<Volumes> {
        let folder = root.join("volumes");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(Error::file("make", &folder))?;
        let mut table = Table::default();
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                proa_registry::remove_tree(&path).map_err(Error::file("remove", &path))?;
                continue;
            }
            match read(&path).and_then(|volume| fill::resume(&path).map(|()| volume)) {
                Ok(volume) => drop(table.by_name.insert(name, Arc::new(volume))),
                // One damaged volume does not keep the others from their host; its files stay where they are.
                Err(error) => tracing::error!("{}", error.sentence()),
            }
        }
        Ok(Volumes(Arc::new(Inner {
            folder,
            table: Mutex::new(table),
            turn: tokio::sync::Mutex::default(),
            filling: tokio::sync::Mutex::default(),
        })))
    }

    /// The right to fill volumes.
    pub async fn filling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.filling.lock().await
    }

    /// The volume called `name`.
    pub fn find(&self, name: &str) -> Result<Arc<Volume>> {
        let found = self.lock().by_name.get(name).cloned();
        found.ok_or_else(|| Error::FindVolume(format!("get {name}: no such volume")))
    }

    /// Every volume, by name.
    pub fn all(&self) -> Vec<Arc<Volume>> {
        self.lock().by_name.values().cloned().collect()
    }

    /// Where the volume's own folder lies.
    pub fn place(&self, volume: &Volume) -> PathBuf {
        self.0.folder.join(&volume.name)
    }

    /// What `docker volume inspect` calls its mountpoint.
    pub fn mountpoint(&self, volume: &Volume) -> PathBuf {
        self.place(volume).join(DATA)
    }

    /// The directory that containers mount.
    pub fn data(&self, volume: &Volume) -> PathBuf {
        volume.device().map_or_else(|| self.mountpoint(volume), PathBuf::from)
    }

    /// Finds or makes a volume and pins it.
    ///
    /// # Errors
    /// `Invalid` for a name, a driver or options that cannot be.
    pub async fn pin(&self, request: Request) -> Result<Pin> {
        check_driver(&request.driver)?;
        check_options(&request.options)?;
        let name = match &request.name {
            Some(name) => name.clone(),
            None => crate::random_id(),
        };
        check_name(&name)?;
        let _turn = self.0.turn.lock().await;
        let known = self.lock().by_name.get(&name).cloned();
        let (volume, made) = match known {
            Some(volume) => (volume, false),
            None => (self.make(name, request).await?, true),
        };
        *self.lock().pins.entry(volume.name.clone()).or_default() += 1;
        Ok(Pin { volumes: self.clone(), volume, made })
    }

    /// Removes a volume unless `users` names somebody who needs it.
    ///
    /// # Errors
    /// `FindVolume`, and `Conflict` in Docker's words.
    pub async fn remove(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<Arc<Volume>> {
        let (volume, doomed) = {
            let _turn = self.0.turn.lock().await;
            let volume = self.find(name)?;
            let mut users = users();
            if self.lock().pins.contains_key(name) {
                users.push("a container that is being made".to_owned());
            }
            if !users.is_empty() {
                let users = users.join(", ");
                return Err(Error::Conflict(format!("remove {name}: volume is in use - [{users}]")));
            }
            let doomed = self.passing(name);
            let (place, folder, target) = (self.place(&volume), self.0.folder.clone(), doomed.clone());
            let hidden = move || -> io::Result<()> {
                fs::rename(place, target)?;
                sync(&folder)
            };
            let failed = Error::file("remove the volume", self.place(&volume));
            crate::images::run_blocking(move || Ok(hidden())).await?.map_err(failed)?;
            self.lock().by_name.remove(name);
            (volume, doomed)
        };
        // What a guest wrote may be anything, of any depth and number: out of the way of everybody else.
        let removed = crate::images::run_blocking(move || {
            proa_registry::remove_tree(&doomed).map_err(Error::file("remove", &doomed))
        });
        removed.await?;
        Ok(volume)
    }

    /// Bytes on the node's disk, of what lies in it alone.
    pub async fn size(&self, volume: &Volume) -> u64 {
        if volume.device().is_some() {
            return 0;
        }
        let data = self.mountpoint(volume);
        crate::images::run_blocking(move || Ok(fill::bytes_of(&data))).await.unwrap_or(0)
    }

    async fn make(&self, name: String, request: Request) -> Result<Arc<Volume>> {
        let mut labels = request.labels;
        if request.name.is_none() {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let created = unix_nanos(SystemTime::now());
        let volume = Arc::new(Volume { name, created, labels, options: request.options });
        let (coming, place, made) = (self.passing(&volume.name), self.place(&volume), volume.clone());
        let folder = self.0.folder.clone();
        crate::images::run_blocking(move || {
            let written = write(&made, &coming).and_then(|()| fs::rename(&coming, &place)).and_then(|()| sync(&folder));
            written.map_err(|source| {
                let _ = proa_registry::remove_tree(&coming);
                Error::File { attempt: "make the volume", path: place, source }
            })
        })
        .await?;
        self.lock().by_name.insert(volume.name.clone(), volume.clone());
        Ok(volume)
    }

    fn passing(&self, name: &str) -> PathBuf {
        self.0.folder.join(format!(".{name}.{}", &crate::random_id()[..12]))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives an empty volume that is still this host's own to the root of a guest's user namespace.
pub fn give(data: &Path, owner: u32) -> Result<()> {
    let failed = || Error::file("give the volume", data);
    let found = fs::symlink_metadata(data).map_err(failed())?;
    let empty = fs::read_dir(data).map_err(failed())?.next().is_none();
    if found.uid() == rustix::process::geteuid().as_raw() && empty {
        std::os::unix::fs::lchown(data, Some(owner), Some(owner)).map_err(failed())?;
    }
    Ok(())
}

/// Whether what lies in a volume belongs to a guest whose root is `owner` outside.
pub fn belongs_to(data: &Path, owner: u32) -> bool {
    fs::symlink_metadata(data).is_ok_and(|found| found.uid() >= owner)
}

/// Docker's names of volumes.
pub fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        let sentence = "volume name is too short, names should be at least two alphanumeric characters";
        return Err(Error::Invalid(sentence.to_owned()));
    }
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) || !name.bytes().all(rest) {
        return Err(Error::Invalid(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    if name.len() > NAME_MAX {
        return Err(Error::Invalid(format!("the volume's name is longer than {NAME_MAX} bytes")));
    }
    Ok(())
}

/// The one driver there is.
pub fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | "local" => Ok(()),
        other => Err(Error::FindVolume(format!("plugin \"{other}\" not found: the only volume driver is `local`"))),
    }
}

/// `type=none,o=bind,device=DIRECTORY` is what the driver `local` is given here.
pub fn check_options(options: &HashMap<String, String>) -> Result<()> {
    let invalid = |sentence: String| Err(Error::Invalid(sentence));
    if let Some(name) = options.keys().find(|name| !["type", "o", "device"].contains(&name.as_str())) {
        return invalid(format!("invalid option: \"{name}\""));
    }
    if options.is_empty() {
        return Ok(());
    }
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    if !matches!(option("type"), "none" | "bind" | "")
        || !option("o").split(',').any(|flag| matches!(flag, "bind" | "rbind"))
    {
        return invalid(
            "a volume's options can only be type=none,o=bind,device=DIRECTORY; for others use --tmpfs".to_owned(),
        );
    }
    if let Some(flag) = option("o").split(',').find(|flag| !matches!(*flag, "bind" | "rbind" | "rw")) {
        return invalid(format!("the volume option `o={flag}` is not supported: mount it with `:ro` instead"));
    }
    if !option("device").starts_with('/') {
        return invalid("the volume option `device` must be an absolute path".to_owned());
    }
    Ok(())
}

/// A path that stays in the volume by its words; what links make of it is found beneath a handle at each start.
pub fn check_subpath(subpath: &str) -> Result<()> {
    let parts = Path::new(subpath).components();
    match parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)) {
        true => Ok(()),
        false => {
            Err(Error::Invalid(format!("invalid volume subpath `{subpath}`: it must be relative and without `..`")))
        }
    }
}

fn read(path: &Path) -> Result<Volume> {
    let file = path.join(FILE);
    let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
    let json = unsealed(&bytes).ok_or_else(|| Error::DamagedRecord(file.clone()))?;
    serde_json::from_slice(json).map_err(|source| Error::ReadRecord { path: file, source })
}

/// Everything of it is on the disk when this is over.
fn write(volume: &Volume, place: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(place)?;
    fs::DirBuilder::new().mode(0o755).create(place.join(DATA))?;
    // Whatever the umask.
    fs::set_permissions(place.join(DATA), PermissionsExt::from_mode(0o755))?;
    note(volume, place)
}

/// Writes down what a volume is: readers see the old words or the new ones.
fn note(volume: &Volume, place: &Path) -> io::Result<()> {
    let temporary = place.join(format!("{FILE}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(&sealed(serde_json::to_vec(volume)?))?;
    file.sync_all()?;
    fs::rename(&temporary, place.join(FILE))?;
    sync(place)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_is_there_for_the_next_host_and_gone_once_removed() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(root.path()).unwrap();
        let request = Request { name: Some("data".to_owned()), ..Request::default() };
        let pin = volumes.pin(request.clone()).await.unwrap();
        assert!(pin.made && !volumes.pin(request).await.unwrap().made);
        assert!(volumes.remove("data", Vec::new).await.unwrap_err().sentence().contains("in use"), "pinned");
        drop(pin);
        fs::write(root.path().join("volumes/data/_data/file"), "kept").unwrap();
        fs::create_dir_all(root.path().join("volumes/.half.made/_data")).unwrap();
        let again = Volumes::open(root.path()).unwrap();
        assert_eq!(again.all().len(), 1);
        assert!(!root.path().join("volumes/.half.made").exists());
        assert_eq!(again.size(&again.find("data").unwrap()).await, 4);
        let used = again.remove("data", || vec!["ab".to_owned()]).await.unwrap_err().sentence();
        assert_eq!(used, "remove data: volume is in use - [ab]");
        again.remove("data", Vec::new).await.unwrap();
        assert!(again.find("data").is_err());
        assert_eq!(fs::read_dir(root.path().join("volumes")).unwrap().count(), 0);
    }

    #[test]
    fn names_drivers_and_options_that_cannot_be_are_refused() {
        let long = "x".repeat(201);
        for name in ["", "x", ".", "..", "a/b", "../x", "-x", long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("a_b.c-1").is_ok() && check_driver("local").is_ok() && check_driver("nfs").is_err());
        let check = |text: &str| {
            let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
            check_options(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert!(check("").is_ok() && check("type=none o=bind device=/srv").is_ok());
        for text in [
            "type=nfs o=addr=x device=:/x",
            "type=tmpfs device=tmpfs",
            "o=bind device=x",
            "size=1",
            "o=bind,ro device=/x",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(check_subpath("a/b").is_ok() && check_subpath("../x").is_err() && check_subpath("/x").is_err());
    }
}
