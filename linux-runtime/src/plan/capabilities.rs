//! The five sets of capabilities: as they are given, as far as the kernel knows them and the runtime has them to give.

use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process};

use super::Draft;
use super::names::{CAPABILITY_NAMES, upper_snake};
use crate::facts::Facts;
use crate::step::{Action, Actor};

/// How many capabilities a kernel has, from which version on (linux/capability.h).
const KNOWN: [((u32, u32), u32); 3] = [((5, 9), 41), ((5, 8), 40), ((0, 0), 38)];

/// The sets, a bit for each capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) bounding: u64,
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
    pub(super) ambient: u64,
}

/// What can be given at all: a user namespace of its own has every capability of the kernel (user_namespaces(7)).
pub(super) fn givable(facts: &Facts, in_user_namespace: bool) -> u64 {
    let known = KNOWN.iter().find(|(since, _)| facts.kernel >= *since).map_or(0, |(_, count)| (1 << count) - 1);
    if in_user_namespace { known } else { known & facts.capabilities }
}

/// One set of those that are asked for.
pub(super) fn bits(process: &Process, pick: fn(&LinuxCapabilities) -> &Option<Capabilities>) -> u64 {
    let names = process.capabilities().as_ref().and_then(|all| pick(all).as_ref());
    let bit = |name: String| CAPABILITY_NAMES.iter().position(|known| *known == name).map_or(0, |at| 1 << at);
    names.into_iter().flatten().map(|one| bit(upper_snake(&format!("{one:?}")))).fold(0, |all, one| all | one)
}

impl Draft {
    /// What a process gets of what it asks. The rest is left out with a warning, as other runtimes do: a list made for
    /// newer kernels or for more privilege still runs.
    pub(super) fn sets(&mut self, process: &Process) -> Sets {
        let asked = Sets {
            bounding: bits(process, LinuxCapabilities::bounding),
            effective: bits(process, LinuxCapabilities::effective),
            permitted: bits(process, LinuxCapabilities::permitted),
            inheritable: bits(process, LinuxCapabilities::inheritable),
            ambient: bits(process, LinuxCapabilities::ambient),
        };
        let held = asked.effective | asked.permitted | asked.inheritable | asked.ambient;
        let given = Sets {
            bounding: asked.bounding,
            permitted: asked.permitted & self.givable,
            effective: asked.effective & asked.permitted & self.givable,
            inheritable: asked.inheritable & self.givable,
            ambient: asked.ambient & asked.permitted & asked.inheritable & self.givable,
        };
        self.warn(held & !self.givable, "cannot be given by this runtime on this kernel");
        self.warn(asked.effective & !asked.permitted, "are effective but not permitted");
        // Root has no use for ambient ones, and engines give them to everybody.
        if process.user().uid() != 0 {
            let possible = asked.permitted & asked.inheritable;
            self.warn(asked.ambient & !possible, "are ambient but not permitted and inheritable");
        }
        given
    }

    /// The four sets besides the bounding one, which is dropped earlier, while there is still the right to.
    pub(super) fn capabilities(&mut self, sets: Sets) {
        let Sets { effective, permitted, inheritable, ambient, .. } = sets;
        self.push(Actor::Child, Action::Capabilities { effective, permitted, inheritable, ambient });
    }

    fn warn(&mut self, left_out: u64, why: &str) {
        let names = CAPABILITY_NAMES.iter().enumerate().filter(|(bit, _)| left_out >> bit & 1 == 1);
        let names: Vec<String> = names.map(|(_, name)| format!("CAP_{name}")).collect();
        if !names.is_empty() {
            self.warnings.push(format!("capabilities {} {why} and are left out", names.join(", ")));
        }
    }
}
