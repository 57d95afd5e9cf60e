//! Everything at rest below the root, read once more and held against what was written. The store looks after images
//! (`proa_registry::Store::check`), the waist after compiled code; records and volumes are the host's own.
//!
//! What only its writer could know is right is not looked at: a container's own files, volumes' files, and the text of logs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proa_registry::{Damage, Hold};
use tokio::runtime::Handle;

use crate::error::Result;
use crate::host::Host;
use crate::state::record::Content;
use crate::state::{Record, Status};

/// How long a repair waits for those who are about to use a layer: who wants to start a container waits with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a check looked at and found.
#[derive(Debug, Default)]
pub struct Report {
    pub blobs: u64,
    pub layers: u64,
    /// Of containers and volumes.
    pub records: u64,
    pub modules: u64,
    pub damages: Vec<Damage>,
}

impl Host {
    /// Reads everything, and repairs what can be where `repair` says so. Ends where it is when whoever asked goes away.
    pub async fn check(self: &Arc<Self>, repair: bool) -> Result<Report> {
        let mut report = Report::default();
        self.check_records(repair, &mut report);
        self.volumes.check(repair, &mut report).await?;
        self.check_modules(repair, &mut report).await?;
        let (host, asked) = (self.clone(), Arc::new(()));
        let waits = Arc::downgrade(&asked);
        let replaceable = move |folder: &Path| host.replaceable(folder);
        let goes_on = move || waits.strong_count() > 0;
        let checked = self.images.check(self.images_in_use(), repair.then_some(replaceable), goes_on).await?;
        drop(asked);
        (report.blobs, report.layers) = (checked.blobs, checked.layers);
        report.damages.extend(checked.damages);
        Ok(report)
    }

    /// What is in memory is what was written.
    fn check_records(&self, repair: bool, report: &mut Report) {
        for container in self.containers.all() {
            report.records += 1;
            let problem = match Record::read(container.folder()) {
                Ok(Some(_)) => continue,
                Ok(None) => "it is gone".to_owned(),
                Err(error) => error.sentence(),
            };
            if matches!(container.status(), Status::Removing | Status::Dead) {
                continue;
            }
            let what = format!("the record of container `{}`", container.with(|record| record.name.clone()));
            let (remedy, is_repaired) = match repair.then(|| container.edit(|_| {})) {
                None => (REPAIR.to_owned(), false),
                Some(Ok(())) => ("it was written anew".to_owned(), true),
                Some(Err(error)) => (error.sentence(), false),
            };
            report.damages.push(Damage { what, problem, remedy, is_repaired });
        }
        for problem in self.warnings() {
            let remedy = "put back its folder, or remove it while no host runs".to_owned();
            report.damages.push(Damage { what: "a container".to_owned(), problem, remedy, is_repaired: false });
        }
    }

    async fn check_modules(&self, repair: bool, report: &mut Report) -> Result<()> {
        let (count, damaged) = self.runtimes().await?.damaged_code().await;
        report.modules = count;
        if damaged.is_empty() {
            return Ok(());
        }
        if repair {
            let runtimes = self.runtimes().await?;
            self.images.compile_all(&runtimes, self.images_in_use()).await;
        }
        let (_, left) = self.runtimes().await?.damaged_code().await;
        for folder in damaged {
            let is_repaired = !left.contains(&folder);
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let remedy = match (is_repaired, repair) {
                (true, _) => "it was compiled anew",
                (false, true) => "no image that can be read needs it",
                (false, false) => REPAIR,
            };
            report.damages.push(Damage {
                what: format!("compiled code `{name}`"),
                problem: "it is not what was stored".to_owned(),
                remedy: remedy.to_owned(),
                is_repaired,
            });
        }
        Ok(())
    }

    /// Whether an unpacked layer may be replaced now; while what it gives is held, nobody begins to use it. Blocks.
    fn replaceable(&self, folder: &Path) -> Result<Hold, String> {
        let right = tokio::time::timeout(PATIENCE, self.layers.clone().write_owned());
        let right = Handle::current().block_on(right).map_err(|_| "a container is being started: check again")?;
        for container in self.containers.all() {
            let uses = container.with(|record| match &record.content {
                Content::Layers { lower } => lower.iter().any(|layer| layer == folder),
                Content::Module { files, .. } => files.as_deref() == Some(folder),
            });
            // A turn that is taken belongs to somebody who looks into the container's files, or starts it.
            if uses && (container.sandbox().is_some() || container.turn.try_lock().is_err()) {
                let name = container.with(|record| record.name.clone());
                return Err(format!("container `{name}` uses it: stop it and check again"));
            }
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        match self.is_named_by_damaged(&name) {
            true => Err("a container whose record cannot be read may use it".to_owned()),
            false => Ok(Box::new(right)),
        }
    }
}

/// What is said where nothing was repaired.
pub const REPAIR: &str = "`proa system check --repair` puts it right";
