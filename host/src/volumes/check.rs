//! What the volumes' folders say of themselves, read once more. Their files are their writers' affair.

use std::fs;

use proa_registry::Damage;

use super::{Volumes, note, read};
use crate::error::{Error, Result};
use crate::host::check::{REPAIR, Report};
use crate::images::run_blocking;

impl Volumes {
    /// Adds to `report` what is damaged; what is known in memory is written anew where `repair` says so.
    pub async fn check(&self, repair: bool, report: &mut Report) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let volumes = self.clone();
        let (count, damages) = run_blocking(move || volumes.damages(repair)).await?;
        report.records += count;
        report.damages.extend(damages);
        Ok(())
    }

    fn damages(&self, repair: bool) -> Result<(u64, Vec<Damage>)> {
        let folder = &self.0.folder;
        let (mut count, mut damages) = (0, Vec::new());
        for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
            let path = entry.map_err(Error::file("read", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            count += 1;
            let Err(error) = read(&path) else { continue };
            let known = self.find(&name).ok();
            let (remedy, is_repaired) = match known.filter(|_| repair).map(|volume| note(&volume, &path)) {
                Some(Ok(())) => ("it was written anew".to_owned(), true),
                Some(Err(error)) => (error.to_string(), false),
                None if self.find(&name).is_ok() => (REPAIR.to_owned(), false),
                None => (format!("its files lie in `{}`", path.display()), false),
            };
            let what = format!("the record of volume `{name}`");
            damages.push(Damage { what, problem: error.sentence(), remedy, is_repaired });
        }
        Ok((count, damages))
    }
}
