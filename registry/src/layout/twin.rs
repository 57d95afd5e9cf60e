//! The twin of a store's index.json: the same bytes behind their digest, written first. A disk that changes a byte of one of
//! them changes no name and loses no image, since the other tells what was written. Knows nothing of blobs, which
//! their digests protect.

use super::{INDEX, INDEX_MAX, Layout, read_file};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::Index;
use crate::error::Result;

/// The twin's file: the digest, a line's end, the index.
const TWIN: &str = "index.twin";

impl Layout {
    /// The same layout with a twin from now on; what the disk has changed of its index.json is put right.
    pub(crate) fn with_twin(mut self) -> Result<Layout> {
        self.has_twin = true;
        let index = read_file(&self.dir, INDEX, INDEX_MAX).unwrap_or_default();
        match self.read_twin() {
            Some(twin) if twin == index => {}
            Some(twin) if was_edited(&index, &twin) => self.write_twin(&index)?,
            Some(twin) => {
                tracing::warn!(path = %self.path.join(INDEX).display(), "the index was damaged: its twin replaces it");
                self.replace(INDEX, &twin)?;
            }
            None if entries(&index).is_some() => self.write_twin(&index)?,
            // Nothing is known to be right: whoever needs the index will say so, and nothing is collected meanwhile.
            None => {}
        }
        Ok(self)
    }

    /// What of the two is not as it was written, in words; put right where `repair` says so.
    pub(crate) fn check_twin(&self, repair: bool) -> Result<Option<&'static str>> {
        let _lock = self.lock()?;
        let index = read_file(&self.dir, INDEX, INDEX_MAX).unwrap_or_default();
        let (damage, right) = match self.read_twin() {
            Some(twin) if twin == index || was_edited(&index, &twin) => return Ok(None),
            Some(twin) => ("it is not what was written", Some(twin)),
            None if entries(&index).is_some() => ("its twin is not what was written", None),
            None => return Ok(Some("neither it nor its twin is what was written")),
        };
        if repair {
            match right {
                Some(twin) => self.replace(INDEX, &twin)?,
                None => self.write_twin(&index)?,
            }
        }
        Ok(Some(damage))
    }

    pub(super) fn write_twin(&self, index: &[u8]) -> Result<()> {
        let mut bytes = format!("{}\n", Digest::sha256_of(index)).into_bytes();
        bytes.extend_from_slice(index);
        self.replace(TWIN, &bytes)
    }

    fn read_twin(&self) -> Option<Vec<u8>> {
        let bytes = read_file(&self.dir, TWIN, INDEX_MAX + 128).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (digest, index) = (&bytes[..end], &bytes[end + 1..]);
        (Digest::sha256_of(index).to_string().as_bytes() == digest).then(|| index.to_vec())
    }
}

fn entries(index: &[u8]) -> Option<Vec<Descriptor>> {
    serde_json::from_slice::<Index>(index).ok().map(|index| index.manifests)
}

/// Another program added entries or took some away, which no changed byte does; or this one died before it came to
/// index.json.
fn was_edited(index: &[u8], twin: &[u8]) -> bool {
    let (Some(index), Some(twin)) = (entries(index), entries(twin)) else { return false };
    let within = |inner: &[Descriptor], outer: &[Descriptor]| inner.iter().all(|entry| outer.contains(entry));
    index.len() != twin.len() && (within(&index, &twin) || within(&twin, &index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(dir: &std::path::Path) -> Layout {
        Layout::create(dir).unwrap().with_twin().unwrap()
    }

    #[test]
    fn a_changed_byte_in_the_index_or_its_twin_changes_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let (digest, size) = layout(dir.path()).put(b"{}").unwrap();
        let named = |name: &str| layout(dir.path()).set_name(&Descriptor::new("x/y", digest.clone(), size), name);
        named("docker.io/library/one:1").unwrap();
        named("docker.io/library/two:2").unwrap();
        let expected = layout(dir.path()).descriptors().unwrap();
        for file in [INDEX, TWIN] {
            let path = dir.path().join(file);
            let whole = std::fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 2;
                std::fs::write(&path, &changed).unwrap();
                assert_eq!(layout(dir.path()).descriptors().unwrap(), expected, "byte {at} of {file}");
                assert!(std::fs::read(&path).unwrap() == whole, "byte {at} of {file} was put right");
            }
        }
    }

    #[test]
    fn what_another_program_enters_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ours = layout(dir.path());
        let (digest, size) = ours.put(b"{}").unwrap();
        let descriptor = Descriptor::new("x/y", digest, size);
        ours.set_name(&descriptor, "one:1").unwrap();
        Layout::open(dir.path()).unwrap().set_name(&descriptor, "theirs").unwrap();
        assert_eq!(layout(dir.path()).descriptors().unwrap().len(), 2);
        Layout::open(dir.path()).unwrap().remove_name("one:1").unwrap();
        assert_eq!(layout(dir.path()).descriptors().unwrap().len(), 1);
    }
}
