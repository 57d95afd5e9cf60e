//! Everything at rest, read once more and held against what was written: the index against its twin, blobs against their
//! digests, unpacked folders against their seals. A folder that is not what was unpacked is unpacked once more beside it,
//! from its verified blob: that tells which files differ, and is what a repair puts in its place.
//!
//! Takes as long as reading the disk does, and little memory. Nothing of it happens when a container starts: a folder's size
//! and times tell nothing of a changed byte, and reading all of it would cost more than the start.

use std::any::Any;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::PoisonError;

use super::{Named, Store};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{self, Layer};
use crate::layers::{self, Limits, Unlike};

/// What is at rest and is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// `blob ..`, `layer ..`, with the images it belongs to.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
    /// What was done about it, or what somebody can do.
    pub remedy: String,
    pub is_repaired: bool,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub blobs: u64,
    /// Unpacked folders.
    pub layers: u64,
    pub damages: Vec<Damage>,
}

/// Kept while a folder is replaced.
pub type Hold = Box<dyn Any>;

/// Asked before a folder is replaced.
pub type Repair<'a> = &'a dyn Fn(&Path) -> Result<Hold, String>;

/// How to check.
#[expect(missing_debug_implementations, reason = "functions have no words")]
pub struct Check<'a> {
    /// Digests of the manifests or indexes that containers use, as for [`Store::gc`].
    pub live: &'a HashSet<Digest>,
    /// Whether, and when, to repair: asked of each folder that is about to be replaced, it refuses in words or keeps others
    /// from using the folder.
    pub repair: Option<Repair<'a>>,
    /// Asked now and then: `false` ends the check where it is.
    pub goes_on: &'a dyn Fn() -> bool,
}

impl Store {
    /// Reads everything, names what is damaged, and repairs what can be.
    ///
    /// # Errors
    /// What cannot even be listed.
    pub fn check(&self, check: &Check<'_>) -> Result<Checked> {
        let lease = self.lease();
        let mut checked = Checked::default();
        checked.damages.extend(self.check_index(check)?);
        let owners = self.owners(check.live);
        for (digest, _) in self.inner.layout.blobs()? {
            if !(check.goes_on)() {
                return Ok(checked);
            }
            lease.protect(&digest);
            checked.blobs += 1;
            checked.damages.extend(self.check_blob(&digest, &owners)?);
        }
        let recipes = self.recipes(check.live);
        for name in layers::folders(&self.inner.layers, &self.inner.layers_path)? {
            let Some(digest) = layers::made_of(&name) else { continue };
            if !(check.goes_on)() {
                return Ok(checked);
            }
            lease.protect(&digest);
            let turn = self.inner.unpackings.of(&digest);
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.inner.layers.is_dir(&name) {
                // Nothing needed it any more.
                continue;
            }
            checked.layers += 1;
            let Some(unlike) = layers::inspect(&self.inner.layers, &name)
                .map_err(Error::file("open folder", self.inner.layers_path.join(&name)))?
            else {
                continue;
            };
            let what = format!("unpacked layer `{digest}`{}", named(&owners, &digest));
            let folder = Folder { name: &name, what, images: images(&owners, &digest) };
            checked.damages.extend(self.mend(&folder, &unlike, recipes.get(&name), check)?);
        }
        Ok(checked)
    }

    fn check_index(&self, check: &Check<'_>) -> Result<Option<Damage>> {
        let is_repaired = check.repair.is_some();
        let problem = self.inner.layout.check_twin(is_repaired)?;
        Ok(problem.map(|problem| Damage {
            what: "the index of images".to_owned(),
            problem: problem.to_owned(),
            remedy: if is_repaired { "it was put right" } else { REPAIR }.to_owned(),
            is_repaired,
        }))
    }

    fn check_blob(&self, digest: &Digest, owners: &Owners) -> Result<Option<Damage>> {
        let problem = match self.inner.layout.verify_blob(digest) {
            Ok(()) => return Ok(None),
            // Removed meanwhile.
            Err(Error::NoBlob { .. }) => return Ok(None),
            Err(Error::Corrupt { reason, .. }) => reason,
            Err(Error::File { source, .. }) => format!("it cannot be read: {source}"),
            Err(other) => return Err(other),
        };
        let remedy = match images(owners, digest) {
            images if images.is_empty() => "no image that can be read needs it".to_owned(),
            images => format!("pull {images} again"),
        };
        let what = format!("blob `{digest}`{}", named(owners, digest));
        Ok(Some(Damage { what, problem, remedy, is_repaired: false }))
    }

    /// A folder that is not what its seal says: why, and what is done about it.
    fn mend(
        &self,
        folder: &Folder<'_>,
        unlike: &Unlike,
        recipe: Option<&Recipe>,
        check: &Check<'_>,
    ) -> Result<Option<Damage>> {
        let damage = |problem: String, remedy: String, is_repaired| {
            Ok(Some(Damage { what: folder.what.clone(), problem, remedy, is_repaired }))
        };
        let changed = match unlike {
            Unlike::Unsealed(_) => "nobody wrote down what was unpacked".to_owned(),
            Unlike::Changed(_) => "it is not what was unpacked".to_owned(),
            Unlike::Unreadable(sentence) => sentence.clone(),
        };
        let Some(recipe) = recipe else {
            return damage(changed, "no image that can be read needs it".to_owned(), false);
        };
        let limits = Limits::default();
        let (layout, folders) = (&self.inner.layout, &self.inner.layers);
        let made = match recipe {
            Recipe::Layer(layer) => layers::unpacked(layout, folders, layer, &mut limits.clone()),
            Recipe::Flat(all) => layers::flattened(layout, folders, all, folder.name, &limits),
        };
        let aside = match layout.noting(made) {
            Ok(aside) => aside,
            Err(error) => {
                let images = &folder.images;
                return damage(changed, format!("it cannot be unpacked anew ({error}): pull {images} again"), false);
            }
        };
        match unlike {
            Unlike::Unsealed(found) if *found == aside.seal => {
                layers::write_seal(folders, folder.name, found)
                    .map_err(Error::file("seal", self.inner.layers_path.join(folder.name)))?;
                return Ok(None);
            }
            Unlike::Changed(found) if *found == aside.seal => {
                let problem = "its seal is not what was written, its files are".to_owned();
                if check.repair.is_none() {
                    return damage(problem, REPAIR.to_owned(), false);
                }
                layers::write_seal(folders, folder.name, found)
                    .map_err(Error::file("seal", self.inner.layers_path.join(folder.name)))?;
                return damage(problem, "it was sealed anew".to_owned(), true);
            }
            _ => {}
        }
        let problem = layers::differences(folders, folder.name, &aside);
        let Some(repair) = check.repair else { return damage(problem, REPAIR.to_owned(), false) };
        match repair(&self.inner.layers_path.join(folder.name)) {
            Err(reason) => damage(problem, reason, false),
            Ok(_hold) => {
                aside.publish()?;
                damage(problem, "it was unpacked anew".to_owned(), true)
            }
        }
    }

    /// Which images reach a blob or a layer, as far as they can be read.
    fn owners(&self, live: &HashSet<Digest>) -> Owners {
        let mut owners = Owners::new();
        for named in self.everything(live) {
            let mut reached = HashSet::new();
            // What it found until it met what is damaged counts.
            let _ = image::reachable(&self.inner.layout, &named.descriptor, &mut reached);
            let label = match named.names.first() {
                Some(name) => name.familiar(),
                None => named.descriptor.digest.short().to_owned(),
            };
            for digest in reached {
                owners.entry(digest).or_default().insert(label.clone());
            }
        }
        owners
    }

    /// What the unpacked folders are made of, as far as images can be read.
    fn recipes(&self, live: &HashSet<Digest>) -> HashMap<String, Recipe> {
        let mut recipes = HashMap::new();
        for named in self.everything(live) {
            let variants = self.variants(&named.descriptor).unwrap_or_default();
            for variant in variants.iter().filter(|variant| variant.present) {
                let Ok(image) = image::image(&self.inner.layout, &variant.descriptor) else { continue };
                for layer in &image.layers {
                    recipes.insert(layer.diff_id.folder(), Recipe::Layer(Box::new(layer.clone())));
                }
                recipes.insert(layers::flat_folder(&image.descriptor.digest), Recipe::Flat(image.layers));
            }
        }
        recipes
    }

    /// Every image, also those that only containers still use.
    fn everything(&self, live: &HashSet<Digest>) -> Vec<Named> {
        let mut all = self.list().unwrap_or_default();
        let unnamed = live.iter().filter_map(|digest| self.image_at(digest).ok());
        all.extend(unnamed.map(|image| Named { descriptor: image.descriptor, names: Vec::new() }));
        all
    }
}

const REPAIR: &str = "`proa system check --repair` puts it right";

/// What an unpacked folder is made of.
enum Recipe {
    Layer(Box<Layer>),
    Flat(Vec<Layer>),
}

/// A folder beneath ROOT/layers, in words.
struct Folder<'a> {
    name: &'a str,
    what: String,
    images: String,
}

/// The images that reach a blob or a layer.
type Owners = HashMap<Digest, BTreeSet<String>>;

/// `` `a`, `b` ``
fn images(owners: &Owners, digest: &Digest) -> String {
    let names: Vec<String> = owners.get(digest).into_iter().flatten().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn named(owners: &Owners, digest: &Digest) -> String {
    let images = images(owners, digest);
    if images.is_empty() { images } else { format!(" of {images}") }
}

#[cfg(test)]
mod tests;
