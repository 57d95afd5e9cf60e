//! Hooks as steps (config.md, "POSIX-platform Hooks"): those that run in the container are the child's; for those that run
//! in the runtime's namespaces the child only waits. poststart and poststop happen when the plan is done.

use std::ffi::CString;

use oci_spec::runtime::{Hook, Spec};

use super::{Draft, c_path, c_string};
use crate::error::{Error, Result};
use crate::step::{Action, Actor, HookKind, Slot, Step};

impl Draft {
    /// Puts what concerns hooks before the root is entered, and gives the steps that come after the start.
    pub(super) fn hooks(&mut self, spec: &Spec) -> Result<Option<Vec<Action>>> {
        let Some(hooks) = spec.hooks() else { return Ok(None) };
        let some = |list: &Option<Vec<Hook>>| list.as_ref().is_some_and(|list| !list.is_empty());
        #[allow(deprecated, reason = "engines still ask for prestart")]
        let outside = some(hooks.prestart()) || some(hooks.create_runtime());
        let mut before = Vec::new();
        if outside || some(hooks.create_container()) {
            // Also the moment at which the maker writes down whom the child's hooks are told of.
            before.push(Action::AwaitHooks);
        }
        let create = self.inside(HookKind::CreateContainer, hooks.create_container())?;
        before.extend(create);
        let enters = |step: &Step| matches!(step.action, Action::PivotRoot { .. } | Action::ChangeRoot { .. });
        let at = self.steps.iter().position(enters).unwrap_or(self.steps.len());
        self.steps.splice(at..at, before.into_iter().map(|action| Step { actor: Actor::Child, action }));
        let start = self.inside(HookKind::StartContainer, hooks.start_container())?;
        Ok((!start.is_empty()).then_some(start))
    }

    /// Puts startContainer hooks after the start, when the process is who the program will be.
    pub(super) fn hooks_before_program(&mut self, hooks: Option<Vec<Action>>) {
        let Some(hooks) = hooks else { return };
        let settled = |step: &Step| {
            matches!(
                step.action,
                Action::AwaitStart | Action::AwaitConnection { .. } | Action::Umask { .. } | Action::NoNewPrivileges
            )
        };
        let at = self.steps.iter().rposition(settled).map_or(self.steps.len(), |at| at + 1);
        self.steps.splice(at..at, hooks.into_iter().map(|action| Step { actor: Actor::Child, action }));
    }

    fn inside(&mut self, kind: HookKind, hooks: &Option<Vec<Hook>>) -> Result<Vec<Action>> {
        let hooks = hooks.as_deref().unwrap_or_default();
        if hooks.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.slot();
        hooks.iter().map(|hook| lower(kind, hook, state)).collect()
    }
}

fn lower(kind: HookKind, hook: &Hook, state: Slot) -> Result<Action> {
    if !hook.path().is_absolute() {
        return Err(Error::Plan(format!("hook `{}` of {kind}: its path is not absolute", hook.path().display())));
    }
    let path = c_path(hook.path())?;
    let list = |strings: &Option<Vec<String>>| -> Result<Vec<CString>> {
        strings.iter().flatten().map(|string| c_string(string.as_str(), "a hook")).collect()
    };
    let arguments = match list(hook.args())? {
        none if none.is_empty() => vec![path.clone()],
        some => some,
    };
    let timeout = hook.timeout().map(|seconds| u32::try_from(seconds).unwrap_or(0));
    if timeout == Some(0) {
        return Err(Error::Plan(format!("hook `{}` of {kind}: its timeout is not positive", hook.path().display())));
    }
    Ok(Action::Hook { kind, path, arguments, environment: list(hook.env())?, timeout, state })
}
