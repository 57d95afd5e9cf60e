//! Which devices a group may open: for v1 as lines of its controller's files, for v2 as a program of eBPF, which is what
//! the controller became there (Linux 4.15). Pure.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

mod list;
mod program;

pub(super) use list::settings;
pub(super) use program::program;

/// What every container may do beyond its specification, as runc's and crun's: make any node, since a node alone opens
/// nothing, and open null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals.
const EVERYBODYS: [Rule; 10] = [
    Rule { kind: Some(CHARACTER), access: MAKE, ..EVERYTHING },
    Rule { kind: Some(BLOCK), access: MAKE, ..EVERYTHING },
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(2)),
    character(136, None),
];

const EVERYTHING: Rule = Rule { allow: true, kind: None, major: None, minor: None, access: ALL };

/// `BPF_DEVCG_DEV_*`.
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

/// The letters of accesses with the kernel's bits (`BPF_DEVCG_ACC_*`).
const ACCESSES: [(char, u32); 3] = [('r', 2), ('w', 4), ('m', MAKE)];
const MAKE: u32 = 1;
const ALL: u32 = 7;

/// One rule; of each access the last rule that matches decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    allow: bool,
    /// `None` is block and character devices.
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

/// Everything denied first, then what the specification says, then what every container has.
pub(super) fn rules(asked: Option<&Vec<LinuxDeviceCgroup>>) -> Vec<Rule> {
    let mut rules = vec![Rule { allow: false, ..EVERYTHING }];
    rules.extend(asked.into_iter().flatten().map(rule));
    rules.extend(EVERYBODYS);
    rules
}

fn rule(asked: &LinuxDeviceCgroup) -> Rule {
    let kind = match asked.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(BLOCK),
        _ => Some(CHARACTER),
    };
    let letters = asked.access().as_deref().filter(|letters| !letters.is_empty()).unwrap_or("rwm");
    let access = ACCESSES.iter().filter(|(letter, _)| letters.contains(*letter)).fold(0, |all, (_, bit)| all | bit);
    // Other runtimes' files say -1 for all.
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    Rule { allow: asked.allow(), kind, major: number(asked.major()), minor: number(asked.minor()), access }
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Some(CHARACTER), major: Some(major), minor, access: ALL }
}

impl Rule {
    /// Whether it is about every device there is, whatever is done with it.
    fn is_about_everything(&self) -> bool {
        *self == Rule { allow: self.allow, ..EVERYTHING }
    }
}
