//! Images that lie in files, as skopeo and its kin name them on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};

/// `oci:DIR[:TAG]`: an image in a layout on disk, the way skopeo writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutName {
    pub dir: PathBuf,
    /// `org.opencontainers.image.ref.name` verbatim; the only image of the layout without it.
    pub tag: Option<String>,
}

impl FromStr for LayoutName {
    type Err = Error;

    fn from_str(text: &str) -> Result<LayoutName> {
        let refuse = |reason| Error::Reference { text: text.chars().take(320).collect(), reason };
        let rest = text.strip_prefix("oci:").ok_or_else(|| refuse("expected `oci:DIR[:TAG]`"))?;
        // As skopeo does: the folder ends at the first colon, a name may hold more of them.
        let (dir, tag) = rest.split_once(':').map_or((rest, None), |(dir, tag)| (dir, Some(tag)));
        match (dir, tag) {
            ("", _) => Err(refuse("the folder is missing")),
            (_, Some("")) => Err(refuse("the tag is empty")),
            (dir, tag) => Ok(LayoutName { dir: PathBuf::from(dir), tag: tag.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.dir.display())?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

/// `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:TAG]`: an image in a tar, which may be compressed. For whoever packs
/// `oci:` for the host today: [`open`](super::open) takes it into a scratch layout, from which it is sent in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveName {
    pub kind: ArchiveKind,
    pub file: PathBuf,
    /// The name or tag that stands in the archive; the only image of the archive without it.
    pub tag: Option<String>,
}

/// What wrote an archive. Both are read alike: docker 25 and later write what is either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    Oci,
    Docker,
}

impl ArchiveKind {
    fn prefix(self) -> &'static str {
        match self {
            ArchiveKind::Oci => "oci-archive:",
            ArchiveKind::Docker => "docker-archive:",
        }
    }
}

impl ArchiveName {
    /// Whether `text` is meant to be such a name: no reference begins like one.
    pub fn is_meant(text: &str) -> bool {
        [ArchiveKind::Oci, ArchiveKind::Docker].iter().any(|kind| text.starts_with(kind.prefix()))
    }
}

impl FromStr for ArchiveName {
    type Err = Error;

    fn from_str(text: &str) -> Result<ArchiveName> {
        let refuse = |reason| Error::Reference { text: text.chars().take(320).collect(), reason };
        let found = [ArchiveKind::Oci, ArchiveKind::Docker]
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)));
        let (kind, rest) =
            found.ok_or_else(|| refuse("expected `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:TAG]`"))?;
        // As skopeo does: the file ends at the first colon, a name may hold more of them.
        let (file, tag) = rest.split_once(':').map_or((rest, None), |(file, tag)| (file, Some(tag)));
        match (file, tag) {
            ("", _) => Err(refuse("the file is missing")),
            (_, Some("")) => Err(refuse("the tag is empty")),
            (file, tag) => Ok(ArchiveName { kind, file: PathBuf::from(file), tag: tag.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.file.display())?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_named_as_skopeo_names_them() {
        let name: ArchiveName = "docker-archive:/tmp/a.tar:busybox:latest".parse().unwrap();
        assert_eq!((name.kind, name.tag.as_deref()), (ArchiveKind::Docker, Some("busybox:latest")));
        assert_eq!(name.to_string(), "docker-archive:/tmp/a.tar:busybox:latest");
        assert_eq!("oci-archive:a.tar".parse::<ArchiveName>().unwrap().tag, None);
        assert!(ArchiveName::is_meant("oci-archive:") && !ArchiveName::is_meant("oci:x"));
        for bad in ["oci-archive:", "docker-archive:a:", "oci:a", ""] {
            assert!(bad.parse::<ArchiveName>().is_err(), "{bad}");
        }
    }
}
