//! One container as the disk knows it: `containers/<id>/container.json`. What is wanted and what was last known; the
//! runtimes hold what *is*.
//!
//! ```text
//! containers/<id>/container.json    this record and its seal, whole or absent (written beside, then renamed)
//! containers/<id>/log               its output (see `log.rs`)
//! containers/<id>/{hostname,hosts,resolv.conf}   bound into a native container
//! containers/<id>/scratch/          the runtime's own folder: upper and work
//! ```

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bollard_stubs::models::{ContainerConfig, HostConfig};
use proa_sandbox::{Artifact, Isolation, ModuleKind};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::healing::health::Felt;
use crate::healing::restart::Restarts;
use crate::state::seal::{sealed, unsealed};
use crate::state::status::Status;

/// The record's file in a container's folder.
pub const FILE: &str = "container.json";

/// One container as the disk knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Without Docker's leading slash; unique on the node.
    pub name: String,
    /// Nanoseconds since 1970, as every time here.
    pub created: u64,
    /// The image as it was asked for.
    pub image: String,
    /// The image's id: the digest of its index or manifest.
    pub image_id: String,
    /// The digest of the manifest that runs.
    pub manifest: String,
    pub tenant: String,
    pub isolation: Isolation,
    /// The image's configuration with the request's on top.
    pub config: ContainerConfig,
    /// The request's, without `Isolation`, for which Docker's own type has no room.
    pub host_config: HostConfig,
    pub content: Content,
    pub user: User,
    /// Bytes of the node's memory it is admitted with.
    pub demand: u64,
    pub status: Status,
    pub pid: Option<u32>,
    pub started: Option<u64>,
    pub finished: Option<u64>,
    /// 0 to 255; `None` after an end whose code nobody knows.
    pub exit_code: Option<u8>,
    pub oom_killed: bool,
    /// Why it ended or could not start, where there is more to say than a number.
    pub error: String,
    pub ports: Vec<Published>,
    /// What its restart policy has done and must know.
    #[serde(default)]
    pub restarts: Restarts,
    /// The request's label of that meaning.
    #[serde(default)]
    pub restart_on_unhealthy: bool,
    /// How it felt when that last changed.
    #[serde(default)]
    pub health: Option<Felt>,
    /// Its volumes, made at its creation.
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// What `--volumes-from` brought besides volumes.
    #[serde(default)]
    pub inherited: Vec<BindMount>,
}

/// One `-v`, `--dir` or `--mount type=bind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// Absolute, on the node.
    pub source: String,
    /// Absolute inside, but for a Wasm guest, whose preopened directories may have any name.
    pub target: String,
    pub read_only: bool,
    /// The options as typed, for inspect.
    pub mode: String,
    /// `private`, `rprivate`, `shared`, ..; `rprivate` by default.
    pub propagation: String,
    /// What is mounted beneath the source stays behind.
    pub shallow: bool,
}

/// One volume of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    pub name: String,
    /// The volume's files on the node.
    pub data: PathBuf,
    /// Relative to `data`; empty for all of it.
    pub subpath: String,
    /// As [`BindMount::target`].
    pub target: String,
    pub read_only: bool,
    /// The options as typed, for inspect.
    pub mode: String,
    /// It has no name of its own and goes with `rm -v` and `--rm`.
    pub anonymous: bool,
    /// It is still to get what the image has at the target.
    pub fill: bool,
}

impl VolumeMount {
    /// What is mounted, by its name on the node. Of a subpath only for showing: links in it are a guest's.
    pub fn source(&self) -> PathBuf {
        if self.subpath.is_empty() { self.data.clone() } else { self.data.join(&self.subpath) }
    }
}

/// Who runs inside, as numbers: names were looked up in the image once, at creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Its home directory, for `HOME`; `None` where the image names none.
    pub home: Option<String>,
}

/// What the container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Unpacked layers, lowest first.
    Layers { lower: Vec<PathBuf> },
    /// A compiled module in the cache, and the image's own files where it has any.
    Module { folder: PathBuf, kind: ModuleKind, imports: Vec<String>, files: Option<PathBuf> },
}

/// A socket of the node that leads to a Wasm HTTP component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub address: IpAddr,
    pub port: u16,
    /// The port as the container's users know it; a component has no ports of its own.
    pub container_port: u16,
}

impl Content {
    /// The waist's artifact, where this is a module.
    pub fn artifact(&self) -> Option<Artifact> {
        match self {
            Content::Module { folder, kind, imports, .. } => {
                Some(Artifact { folder: folder.clone(), kind: *kind, imports: imports.clone() })
            }
            Content::Layers { .. } => None,
        }
    }
}

impl Record {
    /// Reads the record in `folder`; `None` when the container was only half made.
    pub fn read(folder: &Path) -> Result<Option<Record>> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => match unsealed(&bytes) {
                Some(json) => {
                    serde_json::from_slice(json).map(Some).map_err(|source| Error::ReadRecord { path, source })
                }
                None => Err(Error::DamagedRecord(path)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { attempt: "read", path, source }),
        }
    }

    /// Writes the record to `folder`, whole or not at all for every reader.
    ///
    /// Without fsync, on purpose: this lies on the start path, and what a record must survive is the end of the host,
    /// which the page cache outlives. After a loss of power no sandbox lives either, so the last record that reached
    /// the disk is reconciled like any other: what it says runs and is nowhere has exited, its code unknown.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let temporary = folder.join("container.json.new");
        let json = serde_json::to_vec(self).map_err(|source| Error::ReadRecord { path: temporary.clone(), source })?;
        let bytes = sealed(json);
        let write = || -> std::io::Result<()> {
            fs::File::create(&temporary)?.write_all(&bytes)?;
            fs::rename(&temporary, folder.join(FILE))
        };
        write().map_err(Error::file("write", &temporary))
    }

    /// The port table's entry for inspect: whether this container can be reached from outside.
    pub fn is_http(&self) -> bool {
        matches!(self.content, Content::Module { kind: ModuleKind::Http, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_a_changed_byte_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let record = crate::spec::tests::record(Isolation::Linux);
        record.write(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap().unwrap().id, record.id);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(Record::read(folder.path()).is_err(), "byte {at}");
        }
        let json = &whole[..whole.iter().position(|byte| *byte == b'\n').unwrap()];
        fs::write(&path, json).unwrap();
        assert!(Record::read(folder.path()).is_ok(), "a record of before there were seals");
    }
}
