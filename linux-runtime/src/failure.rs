//! A failed step as the sentence that people read; made by whoever still has the plan, never by the child that failed.

use rustix::io::Errno;

use crate::plan::Plan;
use crate::step::Action;
use crate::zygote::protocol::{Failure, FailureKind};

/// What EINVAL of an idmapped mount means to people (mount_setattr(2)).
pub(crate) const UNTRANSLATED: &str =
    "its file system has no mounts with translated owners (ext4, xfs and btrfs have them, tmpfs from Linux 6.3 on)";

/// What EPERM of setrlimit(2) means to people.
const UNLIMITED: &str = "the host's own hard limit is lower, and raising it needs CAP_SYS_RESOURCE";

/// A failed step as one sentence and what a caller can do about it.
pub(crate) fn failure(plan: &Plan, step: usize, errno: Errno) -> Failure {
    let action = plan.steps.get(step.wrapping_sub(1)).map(|step| &step.action);
    let kind = match (action, errno) {
        (Some(Action::Execute { .. } | Action::FindProgram { .. }), Errno::NOENT | Errno::NOTDIR) => {
            FailureKind::NotFound
        }
        (Some(Action::Execute { .. } | Action::FindProgram { .. }), _) => FailureKind::NotExecutable,
        _ => FailureKind::Failed,
    };
    let text = match (action, errno) {
        (Some(Action::TranslateOwners { .. }), Errno::INVAL) => UNTRANSLATED.to_owned(),
        (Some(Action::Limit { .. }), Errno::PERM) => UNLIMITED.to_owned(),
        (Some(Action::Hook { .. }), Errno::CANCELED) => "it failed".to_owned(),
        (Some(Action::Hook { .. }), Errno::TIMEDOUT) => "it took longer than its timeout and was killed".to_owned(),
        _ => sentence(errno),
    };
    Failure { kind, text: format!("{}: {text}", plan.describe(step)) }
}

/// The kernel's words, in lower case and without the number.
pub(crate) fn sentence(errno: Errno) -> String {
    let error = std::io::Error::from(errno).to_string();
    error.split(" (os error").next().unwrap_or(&error).to_lowercase()
}
