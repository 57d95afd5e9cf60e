//! How a failure is told: on standard error for people, in the log for the engines that read it there.

use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

use serde_json::json;

use super::arguments::{Global, LogFormat};

/// Prints `error` with its causes, and appends it to `--log`.
pub(super) fn report(global: &Global, error: &anyhow::Error) {
    let message = format!("{error:#}");
    eprintln!("proa-linux: {message}");
    tell(global, "error", &message);
}

/// The same for what a plan left out without failing.
pub(super) fn warn(global: &Global, warnings: &[String]) {
    for warning in warnings {
        eprintln!("proa-linux: warning: {warning}");
        tell(global, "warning", warning);
    }
}

fn tell(global: &Global, level: &str, message: &str) {
    let Some(path) = &global.log else { return };
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    let line = match global.log_format {
        LogFormat::Json => json!({ "level": level, "msg": message, "time": time.to_string() }).to_string(),
        // logfmt, whose quoting is JSON's.
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={}", json!(message)),
    };
    let written = File::options().create(true).append(true).open(path).and_then(|mut log| writeln!(log, "{line}"));
    if let Err(error) = written {
        eprintln!("proa-linux: write to log `{}`: {error}", path.display());
    }
}
