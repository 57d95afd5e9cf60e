//! The host's verbs of volumes: made and pinned for a container, given back, removed, pruned.

use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::events::Subject;
use crate::host::Host;
use crate::images::run_blocking;
use crate::spec::{USERNS_HOST_ID, mounts};
use crate::state::Container;
use crate::state::record::{BindMount, Record, VolumeMount};
use crate::volumes::{self, Pin, Request, Volume};

/// What a prune removed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    pub names: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

impl Host {
    /// Makes a volume, or finds the one of that name.
    pub async fn create_volume(&self, request: Request) -> Result<Arc<Volume>> {
        let pin = self.volumes.pin(request).await?;
        if pin.made {
            self.tell_of_volume("create", &pin.volume);
        }
        Ok(pin.volume.clone())
    }

    /// Removes a volume that no container has.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let volume = self.volumes.remove(name, || self.volume_users(name)).await?;
        self.tell_of_volume("destroy", &volume);
        Ok(())
    }

    /// The ids of the containers that have a volume, running or not.
    pub fn volume_users(&self, name: &str) -> Vec<String> {
        let has = |container: &Arc<Container>| {
            container.with(|record| record.volumes.iter().any(|volume| volume.name == name))
        };
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose records cannot be read count too: what they had must be there when they can be again.
        let unreadable = damaged.iter().filter(|damaged| damaged.names(name)).map(|damaged| damaged.id.clone());
        let all = self.containers.all();
        let users = all.iter().filter(|container| has(container)).map(|container| container.id().to_owned());
        users.chain(unreadable).collect()
    }

    /// Removes every volume that nobody has and `wanted` chooses.
    pub async fn prune_volumes(&self, wanted: impl Fn(&Volume) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        if let Some(unknown) = self.warnings().into_iter().next() {
            // Which volumes its container has nobody knows, and what is removed is gone.
            return Err(Error::Conflict(format!(
                "volumes are not pruned while a container's record cannot be read: {unknown}"
            )));
        }
        for volume in self.volumes.all().into_iter().filter(|volume| wanted(volume)) {
            let size = self.volumes.size(&volume).await;
            match self.remove_volume(&volume.name).await {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.names.push(volume.name.clone());
                }
                // In use, or removed by somebody else.
                Err(Error::Conflict(_) | Error::FindVolume(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.events.pruned(Subject::Volume, pruned.reclaimed);
        Ok(pruned)
    }

    /// Every volume with its bytes and how many containers have it, for `docker system df`.
    pub async fn volume_sizes(&self) -> Vec<(Arc<Volume>, u64, usize)> {
        let mut all = Vec::new();
        for volume in self.volumes.all() {
            let (size, users) = (self.volumes.size(&volume).await, self.volume_users(&volume.name).len());
            all.push((volume, size, users));
        }
        all
    }

    /// Gives a new container its volumes, made where they are missing; the pins keep them until its record is known.
    pub(super) async fn take_volumes(&self, record: &mut Record, warnings: &mut Vec<String>) -> Result<Vec<Pin>> {
        let mut pins = self.inherit(record).await?;
        let anonymous = record.config.volumes.clone().unwrap_or_default();
        let wanted = mounts::volumes(&record.host_config, &anonymous, record.isolation.is_wasm())?;
        for wanted in wanted {
            let replaced = |other: &VolumeMount| other.target == wanted.target;
            let is_fallback = wanted.name.is_none() && anonymous.iter().any(|path| same(path, &wanted.target));
            let inherited = record.inherited.iter().any(|bind| bind.target == wanted.target);
            if is_fallback && (inherited || record.volumes.iter().any(replaced)) {
                continue;
            }
            record.volumes.retain(|other| !replaced(other));
            record.inherited.retain(|bind| bind.target != wanted.target);
            match self.take_volume(record, wanted, warnings).await {
                Ok((pin, mount)) => {
                    record.volumes.push(mount);
                    pins.push(pin);
                }
                Err(error) => {
                    self.give_back(pins).await;
                    return Err(error);
                }
            }
        }
        Ok(pins)
    }

    /// Puts a new container on disk and into the table and fills its volumes; whole or not at all.
    pub(super) async fn record_with(
        &self,
        record: Record,
        name: Option<&str>,
        volumes: Vec<Pin>,
    ) -> Result<Arc<Container>> {
        let container = match self.record(record, name) {
            Ok(container) => container,
            Err(error) => {
                self.give_back(volumes).await;
                return Err(error);
            }
        };
        let turn = container.turn.lock().await;
        let filled = self.fill_volumes(&container).await;
        drop((turn, volumes));
        if let Err(error) = filled {
            self.remove_with(&container, false, true).await?;
            return Err(error);
        }
        Ok(container)
    }

    /// Gives a record the volumes it would have, for its plan; makes none.
    pub(super) fn suppose_volumes(&self, record: &mut Record) -> Result<()> {
        let anonymous = record.config.volumes.clone().unwrap_or_default();
        for wanted in mounts::volumes(&record.host_config, &anonymous, record.isolation.is_wasm())? {
            let name = wanted.name.clone().unwrap_or_else(|| "ANONYMOUS".to_owned());
            let volume = Volume { name: name.clone(), ..Volume::default() };
            let known = self.volumes.find(&name).map_or(volume, |known| (*known).clone());
            record.volumes.push(VolumeMount {
                data: self.volumes.data(&known),
                name,
                subpath: wanted.subpath,
                target: wanted.target,
                read_only: wanted.read_only,
                mode: wanted.mode,
                anonymous: wanted.name.is_none(),
                fill: false,
            });
        }
        Ok(())
    }

    /// A container was not made after all: what was made for it alone goes.
    async fn give_back(&self, pins: Vec<Pin>) {
        let made: Vec<_> = pins
            .iter()
            .filter(|pin| pin.made && pin.volume.is_anonymous())
            .map(|pin| pin.volume.name.clone())
            .collect();
        drop(pins);
        self.drop_volumes(made).await;
    }

    /// A container is gone: its anonymous volumes go with it, unless another has them too.
    pub(super) async fn remove_anonymous(&self, record: &Record) {
        let anonymous = record.volumes.iter().filter(|volume| volume.anonymous).map(|volume| volume.name.clone());
        self.drop_volumes(anonymous.collect()).await;
    }

    /// Tells that a container's volumes are mounted, or no longer are.
    pub fn tell_of_mounts(&self, action: &'static str, container: &Container) {
        let (id, volumes) = container.with(|record| (record.id.clone(), record.volumes.clone()));
        for volume in volumes {
            let mut attributes = vec![("container", id.clone()), ("driver", "local".to_owned())];
            if action == "mount" {
                attributes.push(("destination", volume.target));
                attributes.push(("read/write", (!volume.read_only).to_string()));
                attributes.push(("propagation", String::new()));
            }
            self.events.volume(action, &volume.name, &attributes);
        }
    }

    async fn drop_volumes(&self, names: Vec<String>) {
        for name in names {
            match self.remove_volume(&name).await {
                Ok(()) | Err(Error::Conflict(_) | Error::FindVolume(_)) => {}
                Err(error) => tracing::error!(volume = name, "{}", error.sentence()),
            }
        }
    }

    async fn take_volume(
        &self,
        record: &Record,
        wanted: mounts::Wanted,
        warnings: &mut Vec<String>,
    ) -> Result<(Pin, VolumeMount)> {
        let request = Request {
            name: wanted.name.clone(),
            driver: wanted.driver,
            labels: wanted.labels,
            options: wanted.options,
        };
        let pin = self.volumes.pin(request).await?;
        if pin.made {
            self.tell_of_volume("create", &pin.volume);
        }
        let data = self.volumes.data(&pin.volume);
        if pin.volume.device().is_some() && !data.is_dir() {
            let (name, data) = (&pin.volume.name, data.display());
            return Err(Error::Invalid(format!("volume {name} stands for `{data}`, which is not a directory")));
        }
        if record.isolation == proa_sandbox::Isolation::LinuxUserns && pin.volume.device().is_none() {
            let folder = data.clone();
            run_blocking(move || volumes::give(&folder, USERNS_HOST_ID)).await?;
            if !volumes::belongs_to(&data, USERNS_HOST_ID) {
                warnings.push(format!(
                    "volume {} was filled under another isolation: under linux-userns its files belong to nobody",
                    pin.volume.name
                ));
            }
        }
        let mount = VolumeMount {
            name: pin.volume.name.clone(),
            data,
            target: wanted.target,
            read_only: wanted.read_only,
            mode: wanted.mode,
            anonymous: wanted.name.is_none(),
            // What stands for a directory of the node's is the node's to fill.
            fill: !wanted.no_copy && wanted.subpath.is_empty() && pin.volume.device().is_none(),
            subpath: wanted.subpath,
        };
        Ok((pin, mount))
    }

    /// `--volumes-from CONTAINER[:ro|rw]`.
    async fn inherit(&self, record: &mut Record) -> Result<Vec<Pin>> {
        let mut pins = Vec::new();
        for text in record.host_config.volumes_from.clone().unwrap_or_default() {
            let (key, mode) = text.split_once(':').unwrap_or((&text, ""));
            let read_only = match mode {
                "" | "rw" | "z" | "Z" => false,
                "ro" => true,
                other => return Err(Error::Invalid(format!("invalid mode for volumes-from: {other}"))),
            };
            let source = self.containers.find(key)?.record();
            let taken = |target: &String, record: &Record| {
                record.volumes.iter().any(|other| other.target == *target)
                    || mounts::tmpfs(record).iter().any(|(other, _)| same(other, target))
                    || mounts::binds(record).is_ok_and(|binds| binds.iter().any(|other| other.target == *target))
            };
            for bind in
                mounts::binds(&source)?.into_iter().filter(|bind| !taken(&bind.target, record)).collect::<Vec<_>>()
            {
                record.inherited.push(BindMount { read_only: bind.read_only || read_only, ..bind });
            }
            for volume in source.volumes {
                if !taken(&volume.target, record) {
                    let request = Request { name: Some(volume.name.clone()), ..Request::default() };
                    pins.push(self.volumes.pin(request).await?);
                    let read_only = volume.read_only || read_only;
                    record.volumes.push(VolumeMount { read_only, fill: false, ..volume });
                }
            }
        }
        Ok(pins)
    }

    fn tell_of_volume(&self, action: &'static str, volume: &Volume) {
        self.events.volume(action, &volume.name, &[("driver", "local".to_owned())]);
    }
}

fn same(path: &str, target: &str) -> bool {
    crate::spec::clean("/", path) == crate::spec::clean("/", target)
}
