//! A container's files for those who copy: of a running one through the root of its process, of another through the root of
//! a sandbox that is made from the same specification and never started.
//!
//! The second costs some ten milliseconds and no mount in any namespace of the host's: the child has assembled everything
//! and pivoted before it waits for a start that never comes. Its container is neither started nor removed meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proa_sandbox::{Isolation, Sandbox};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::files::upper::Upper;
use crate::files::view::{Ids, Place, View};
use crate::host::Host;
use crate::images::run_blocking;
use crate::spec::namespaces::Joined;
use crate::spec::{USERNS_HOST_ID, USERNS_SIZE, clean, mounts};
use crate::state::record::{Content, Record};
use crate::state::{Container, Status};
use crate::{spec, supervisor};

/// A container's files, held until this is dropped.
#[derive(Debug)]
pub struct Files {
    /// Not public: a closure that took this field alone would let the rest go, and with it the sandbox behind the view.
    view: View,
    /// Dropped, it lets the sandbox go that was made for the look, and then the container.
    _held: Option<oneshot::Sender<()>>,
}

impl Files {
    /// What there is to see, as long as this is held.
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// How owners of a container's files are told outside.
pub fn ids(isolation: Isolation) -> Ids {
    if isolation == Isolation::LinuxUserns { Ids::new(USERNS_HOST_ID, USERNS_SIZE) } else { Ids::SAME }
}

impl Host {
    /// Opens a container's files; `name` is what it is called in sentences.
    pub async fn files(self: &Arc<Self>, container: &Arc<Container>, name: &str) -> Result<Files> {
        let record = container.record();
        if record.isolation.is_wasm() {
            let name = name.to_owned();
            let view = run_blocking(move || wasm_view(&record, name)).await?;
            return Ok(Files { view, _held: None });
        }
        if let Some(root) = running_root(container) {
            return Ok(Files { view: native_view(&record, name, root), _held: None });
        }
        let (ready, opened) = oneshot::channel();
        let (host, container, name) = (self.clone(), container.clone(), name.to_owned());
        // In a task of its own: whoever asked may hang up at any moment, and the sandbox goes all the same.
        tokio::spawn(async move {
            let _turn = container.turn.lock().await;
            let (release, released) = oneshot::channel();
            let (sandbox, files) = match host.resting_root(&container).await {
                Ok((sandbox, root)) => {
                    let view = native_view(&container.record(), &name, root);
                    (sandbox, Ok(Files { view, _held: Some(release) }))
                }
                Err(error) => (None, Err(error)),
            };
            if ready.send(files).is_ok() {
                // An error says that the other end was dropped, which is what it is for.
                let _ = released.await;
            }
            if let Some(sandbox) = sandbox {
                let_go(&sandbox).await;
            }
        });
        opened.await.unwrap_or(Err(Error::Stopping))
    }

    /// What a native container has changed; `None` where it never wrote anything.
    pub async fn upper(&self, container: &Container) -> Result<Option<Upper>> {
        let record = container.record();
        let Content::Layers { lower } = record.content else {
            return Err(Error::Invalid(format!(
                "container {} is Wasm: it has no files of its own that change",
                record.name
            )));
        };
        let upper = container.folder().join("scratch").join("upper");
        let failed = Error::file("open", upper.clone());
        run_blocking(move || Ok(Upper::open(&upper, &lower))).await?.map_err(failed)
    }

    /// What an image has at the targets of those volumes that are still to be filled with it, and are empty.
    pub(super) async fn fill_volumes(&self, container: &Arc<Container>) -> Result<()> {
        let record = container.record();
        if !record.volumes.iter().any(|volume| volume.fill) {
            return Ok(());
        }
        let _filling = self.volumes.filling().await;
        let wanted = {
            let record = record.clone();
            run_blocking(move || Ok(to_fill(&record))).await?
        };
        if !wanted.is_empty() {
            self.fill(&record, wanted, container.folder()).await?;
        }
        container.edit(|record| record.volumes.iter_mut().for_each(|volume| volume.fill = false))
    }

    async fn fill(&self, record: &Record, wanted: Vec<(PathBuf, String)>, folder: &Path) -> Result<()> {
        let bare = bare(record);
        let (sandbox, view) = match bare.isolation.is_wasm() {
            true => (None, run_blocking(move || wasm_view(&bare, String::new())).await?),
            false => {
                let (sandbox, root) = self.unstarted(&bare, folder).await?;
                (Some(sandbox), native_view(&bare, "", root))
            }
        };
        let owner = record.isolation.is_wasm().then(own_ids);
        let filled = run_blocking(move || {
            for (place, target) in wanted {
                let asked = crate::files::path::Asked::new(&format!("{target}/"));
                match view.find(&asked) {
                    Ok(found) => crate::volumes::fill::fill(&place, &found, owner)?,
                    // The image has no such folder: the volume stays empty.
                    Err(Error::FindFile { .. } | Error::Invalid(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        let filled = filled.await;
        if let Some(sandbox) = sandbox {
            let_go(&sandbox).await;
        }
        filled
    }

    /// The root of a container that does not run, unless it has begun to meanwhile.
    async fn resting_root(&self, container: &Container) -> Result<(Option<Sandbox>, OwnedFd)> {
        if let Some(root) = running_root(container) {
            return Ok((None, root));
        }
        supervisor::until_free(container).await;
        if matches!(container.status(), Status::Removing | Status::Dead) {
            return Err(Error::Conflict(format!("container {} is marked for removal", container.id())));
        }
        let (sandbox, root) = self.unstarted(&container.record(), container.folder()).await?;
        Ok((Some(sandbox), root))
    }

    /// A sandbox that is never started, and its root.
    async fn unstarted(&self, record: &Record, folder: &Path) -> Result<(Sandbox, OwnedFd)> {
        let mut record = record.clone();
        let _held = hold_subpaths(&mut record)?;
        // It runs nothing: neither another's namespaces nor the node's are any use to it.
        record.host_config.network_mode = Some("none".to_owned());
        (record.host_config.pid_mode, record.host_config.ipc_mode) = (None, None);
        let mut workload = spec::workload(&record, folder, Joined::default())?;
        workload.id = format!("files-{}", record.id);
        workload.stdin = false;
        let failed =
            |source| Error::Sandbox { attempt: "open the files of container", container: record.name.clone(), source };
        let runtimes = self.runtimes().await?;
        let _layers = self.layers.read().await;
        let sandbox = runtimes.create(&workload, Vec::new()).await.map_err(failed)?;
        match sandbox.root() {
            Ok(root) => Ok((sandbox, root)),
            Err(error) => {
                let_go(&sandbox).await;
                Err(failed(error))
            }
        }
    }
}

/// Opens the subpaths of volumes beneath the volumes' own handles and has the record name what was opened, for as long as
/// the handles live: a link that a guest left in a volume leads nowhere outside of it.
pub(super) fn hold_subpaths(record: &mut Record) -> Result<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for volume in record.volumes.iter_mut().filter(|volume| !volume.subpath.is_empty()) {
        let handle = open_beneath(&volume.data, &volume.subpath)?;
        volume.data = crate::files::beneath::own_name(handle.as_fd()).into();
        volume.subpath.clear();
        held.push(handle);
    }
    Ok(held)
}

fn open_beneath(data: &Path, subpath: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |errno: rustix::io::Errno| {
        let reason = crate::error::chain(&std::io::Error::from(errno));
        Error::Invalid(format!("cannot access the volume's subpath `{subpath}`: {reason}"))
    };
    let folder = openat(CWD, data, flags, Mode::empty()).map_err(failed)?;
    if subpath.is_empty() {
        return Ok(folder);
    }
    crate::files::beneath::open(folder.as_fd(), Path::new(subpath), OFlags::PATH).map_err(failed)
}

fn running_root(container: &Container) -> Option<OwnedFd> {
    // One that ends at this moment is one that does not run.
    container.running().ok().and_then(|sandbox| sandbox.root().ok())
}

async fn let_go(sandbox: &Sandbox) {
    if let Err(error) = sandbox.delete().await {
        tracing::error!(sandbox = sandbox.id(), "delete it: {error}");
    }
}

/// The same container without anything that was mounted into it.
fn bare(record: &Record) -> Record {
    let mut bare = record.clone();
    let host = &mut bare.host_config;
    (host.binds, host.mounts, host.tmpfs) = (None, None, None);
    (bare.volumes, bare.inherited) = (Vec::new(), Vec::new());
    bare
}

/// The folders of the volumes to be filled, and their targets.
fn to_fill(record: &Record) -> Vec<(PathBuf, String)> {
    let wanted = record.volumes.iter().filter(|volume| volume.fill && crate::volumes::fill::is_empty(&volume.data));
    let has = |target: &str| match &record.content {
        // Cheaper than a sandbox, and mostly the answer: no layer has anything there.
        Content::Layers { lower } => lower.iter().any(|layer| may_have(layer, target)),
        Content::Module { files, .. } => files.is_some(),
    };
    let wanted = wanted.filter(|volume| has(&volume.target));
    wanted.filter_map(|volume| Some((volume.data.parent()?.to_owned(), volume.target.clone()))).collect()
}

fn may_have(layer: &Path, target: &str) -> bool {
    use rustix::io::Errno;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(layer) = openat(CWD, layer, flags, Mode::empty()) else { return true };
    let target = Path::new(target.trim_start_matches('/'));
    !matches!(crate::files::beneath::plain(layer.as_fd(), target), Err(Errno::NOENT | Errno::NOTDIR))
}

fn native_view(record: &Record, name: &str, root: OwnedFd) -> View {
    View {
        container: name.to_owned(),
        places: vec![Place { at: "/".into(), handle: root, read_only: false, owner: None }],
        ids: ids(record.isolation),
        read_only_root: record.host_config.readonly_rootfs == Some(true),
        wasm: false,
    }
}

fn wasm_view(record: &Record, container: String) -> Result<View> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut places = Vec::new();
    if let Content::Module { files: Some(files), .. } = &record.content {
        let handle = openat(CWD, files, flags, Mode::empty()).map_err(|errno| Error::File {
            attempt: "open",
            path: files.clone(),
            source: errno.into(),
        })?;
        places.push(Place { at: "/".into(), handle, read_only: true, owner: None });
    }
    let binds = mounts::binds(record)?
        .into_iter()
        .map(|bind| (PathBuf::from(bind.source), String::new(), bind.target, bind.read_only));
    let volumes =
        record.volumes.iter().cloned().map(|volume| (volume.data, volume.subpath, volume.target, volume.read_only));
    for (source, subpath, target, read_only) in binds.chain(volumes) {
        let handle = open_beneath(&source, &subpath)?;
        let stat =
            fstat(&handle).map_err(|errno| Error::File { attempt: "look at", path: source, source: errno.into() })?;
        let owner = Some((stat.st_uid, stat.st_gid));
        places.push(Place { at: clean("/", &target), handle, read_only, owner });
    }
    Ok(View { container, places, ids: Ids::SAME, read_only_root: true, wasm: true })
}

/// This host's own, to which a Wasm guest's files belong unless its folder says otherwise.
fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}
