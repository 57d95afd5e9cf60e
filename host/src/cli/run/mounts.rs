//! `-v` by Docker's rules and `--dir` by wasmtime's, both to the API's binds.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};

/// Binds (`SOURCE:TARGET[:OPTIONS]`) and anonymous volumes (`TARGET`). Sources that begin with a dot are the caller's
/// and become absolute; a bare word names a volume, which is for the host to judge.
pub(crate) fn volumes(typed: &[String]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
    for volume in typed {
        match volume.split_once(':') {
            None if volume.starts_with('/') => anonymous.push(volume.clone()),
            None => bail!("`{volume}` mounts nothing\nhint: write -v SOURCE:TARGET[:ro]"),
            Some((source, rest)) if source.starts_with('.') => binds.push(format!("{}:{rest}", absolute(source)?)),
            Some(("", _)) => bail!("`{volume}` has no source\nhint: write -v SOURCE:TARGET[:ro]"),
            Some(_) => binds.push(volume.clone()),
        }
    }
    Ok((binds, anonymous))
}

/// Binds of `HOST[::GUEST]`.
pub(crate) fn directories(typed: &[String]) -> anyhow::Result<Vec<String>> {
    typed
        .iter()
        .map(|directory| {
            let (host, guest) = directory.split_once("::").unwrap_or((directory, directory));
            if host.is_empty() || guest.is_empty() {
                bail!("`{directory}` names no directory\nhint: write --dir HOST[::GUEST]");
            }
            Ok(format!("{}:{}", absolute(host)?, inside(guest)?))
        })
        .collect()
}

fn absolute(path: &str) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("find `{path}`"))?;
    if absolute.as_os_str().as_encoded_bytes().contains(&b':') {
        bail!("`{}` cannot be mounted: its path has a colon", absolute.display());
    }
    absolute.into_os_string().into_string().map_err(|path| anyhow::anyhow!("`{}` is not UTF-8", path.display()))
}

/// A guest's relative path counts from its root, where its working directory is: wasi-libc reads `.` and `/`, `data`
/// and `/data` as the same preopened directory.
fn inside(guest: &str) -> anyhow::Result<String> {
    let mut path = PathBuf::from("/");
    for component in Path::new(guest).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("`{guest}` is outside of the guest's root\nhint: name a place inside: --dir {guest}::/PATH")
            }
        }
    }
    Ok(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(path: &str) -> String {
        std::env::current_dir().expect("a current folder").join(path).to_string_lossy().into_owned()
    }

    /// Each `--dir` gives this bind, or none.
    fn check(typed: &str, expected: Option<String>) {
        let found = directories(&[typed.to_owned()]).ok().map(|binds| binds.concat());
        assert_eq!(found, expected, "--dir {typed}");
    }

    #[test]
    fn dir_takes_a_guest_path_or_the_same() {
        check("/a::/b", Some("/a:/b".into()));
        check("/a", Some("/a:/a".into()));
        check("data", Some(format!("{}:/data", here("data"))));
        check("./data/x", Some(format!("{}:/data/x", here("data/x"))));
        check(".::in", Some(format!("{}:/in", here("").trim_end_matches('/'))));
        check("/a::.", Some("/a:/".into()));
        check("../a", None);
        check("../a::/a", directories(&["../a::/a".into()]).ok().map(|binds| binds.concat()));
        check("::/b", None);
        check("/a::", None);
        check("/a:b::/c", None);
    }

    #[test]
    fn volumes_are_binds_names_or_anonymous() {
        let all = ["/a:/b", "./c:/d:ro", "named:/e", "/f"].map(str::to_owned);
        let (binds, anonymous) = volumes(&all).expect("volumes");
        assert_eq!(binds, ["/a:/b".to_owned(), format!("{}:/d:ro", here("c")), "named:/e".to_owned()]);
        assert_eq!(anonymous, ["/f"]);
        assert!(volumes(&["x".to_owned()]).is_err());
        assert!(volumes(&[":/x".to_owned()]).is_err());
    }
}
