//! `--security-opt` and capabilities.

use anyhow::{Context, bail};

/// What `--security-opt` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// As the API wants them: a seccomp profile's text in the place of its file's name.
    pub(crate) options: Vec<String>,
    /// Whether no path of the system is masked or read-only (`systempaths=unconfined`).
    pub(crate) system_paths: bool,
}

pub(crate) fn parse(typed: &[String]) -> anyhow::Result<Options> {
    let mut all = Options::default();
    for option in typed {
        let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", _) => all.options.push(option.clone()),
            (_, "") => bail!("Invalid --security-opt: \"{option}\""),
            ("systempaths", "unconfined") => all.system_paths = true,
            ("seccomp", "builtin" | "unconfined") => all.options.push(option.clone()),
            ("seccomp", file) => all.options.push(format!("seccomp={}", profile(file)?)),
            _ => all.options.push(option.clone()),
        }
    }
    Ok(all)
}

/// The host never opens the caller's files: the profile itself is sent, without its blanks.
fn profile(file: &str) -> anyhow::Result<String> {
    let text = std::fs::read(file).with_context(|| format!("open the seccomp profile `{file}`"))?;
    let profile: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("understand the seccomp profile `{file}`"))?;
    Ok(profile.to_string())
}

/// Capabilities as Docker sends them: `CAP_NET_RAW` for `net_raw`, sorted, none twice.
pub(crate) fn capabilities(typed: &[String]) -> Vec<String> {
    let normal = |name: &String| {
        let name = name.trim().to_ascii_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let mut all: Vec<String> = typed.iter().map(normal).collect();
    all.sort();
    all.dedup();
    if all.iter().any(|name| name == "ALL") { vec!["ALL".to_owned()] } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seccomp_profile_is_sent_and_not_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "{ \"defaultAction\":\n \"SCMP_ACT_ALLOW\" }").expect("written");
        let typed = [format!("seccomp={}", file.path().display()), "systempaths=unconfined".to_owned()];
        let options = parse(&typed).expect("options");
        assert_eq!(options.options, [r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#]);
        assert!(options.system_paths);
        for wrong in ["foo", "seccomp=", "seccomp=/nonexistent", "seccomp=/proc/self/exe"] {
            assert!(parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn capabilities_have_one_form() {
        let typed = ["net_raw", "CAP_CHOWN", "net_raw"].map(str::to_owned);
        assert_eq!(capabilities(&typed), ["CAP_CHOWN", "CAP_NET_RAW"]);
        assert_eq!(capabilities(&["chown".to_owned(), "all".to_owned()]), ["ALL"]);
    }
}
