//! /dev: a tmpfs of our own with the default nodes and links of the OCI runtime specification (config-linux,
//! "Default Devices"), never the image's directory.

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Mount, Process};

use super::ids::Ids;
use super::mounts::Options;
use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::step::{Action, Node, Slot};

/// Name, major and minor of the nodes every container has.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Folders that are mounts of their own.
const MOUNTS: [&str; 3] = ["pts", "shm", "mqueue"];

/// Name and target of the links every container has.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Draft {
    /// Makes the tmpfs where device nodes may be made: under a user namespace only the helper may.
    pub(super) fn make_dev(
        &mut self,
        mount: &Mount,
        linux: &Linux,
        process: &Process,
        user: Option<&Ids>,
    ) -> Result<Slot> {
        let (owner, _) = user.map_or((0, 0), Ids::owner);
        let mut nodes = default_nodes(owner)?;
        for device in linux.devices().iter().flatten() {
            add(&mut nodes, node(device, owner)?)?;
        }
        if process.terminal().unwrap_or(false) {
            nodes.push(Node::File { name: c_string("console", "a name")? });
        }
        let options = Options::parse(mount)?;
        let into = self.slot();
        let action = Action::MakeDev { options: options.data, attributes: options.attributes, nodes, owner, into };
        let actor = self.assembler;
        self.insert_assembly(vec![(actor, action)]);
        Ok(into)
    }
}

fn default_nodes(owner: u32) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for (name, major, minor) in NODES {
        let name = c_string(name, "a name")?;
        nodes.push(Node::Character { name, major, minor, mode: 0o666, uid: owner, gid: owner });
    }
    for (name, to) in LINKS {
        nodes.push(Node::Link { name: c_string(name, "a name")?, to: c_string(to, "a name")? });
    }
    for name in MOUNTS {
        nodes.push(Node::Directory { name: c_string(name, "a name")? });
    }
    Ok(nodes)
}

/// Adds a node and the folders above it; one of the same name gives way.
fn add(nodes: &mut Vec<Node>, node: Node) -> Result<()> {
    let path = node.name().to_string_lossy().into_owned();
    for (at, _) in path.match_indices('/') {
        let folder = c_string(&path[..at], "a device's path")?;
        if nodes.iter().all(|known| *known.name() != folder) {
            nodes.push(Node::Directory { name: folder });
        }
    }
    nodes.retain(|known| known.name() != node.name());
    nodes.push(node);
    Ok(())
}

fn node(device: &LinuxDevice, owner: u32) -> Result<Node> {
    let path = device.path().to_string_lossy().into_owned();
    let refused = || Error::Plan(format!("device `{path}`: a device's node stands in /dev and in no mount below it"));
    // `..` would lead out of the tmpfs the nodes are made in.
    let plain = |name: &&str| name.split('/').all(|part| !["", ".", ".."].contains(&part));
    let free = |name: &&str| !MOUNTS.iter().any(|mount| name.split('/').next() == Some(*mount));
    let name = path.strip_prefix("/dev/").filter(plain).filter(free).ok_or_else(refused)?;
    let name = c_string(name, "a device's path")?;
    let number = |number: i64| u32::try_from(number).map_err(|_| Error::Plan(format!("device `{path}`: bad number")));
    let (major, minor) = (number(device.major())?, number(device.minor())?);
    let mode = device.file_mode().unwrap_or(0o666) & 0o777;
    // An owner that the namespace does not map is nobody's there.
    let inside = |id: Option<u32>| owner.checked_add(id.unwrap_or(0)).ok_or_else(refused);
    let (uid, gid) = (inside(device.uid())?, inside(device.gid())?);
    Ok(match device.typ() {
        LinuxDeviceType::B => Node::Block { name, major, minor, mode, uid, gid },
        LinuxDeviceType::P => Node::Fifo { name, mode, uid, gid },
        LinuxDeviceType::C | LinuxDeviceType::U => Node::Character { name, major, minor, mode, uid, gid },
        LinuxDeviceType::A => return Err(Error::Plan(format!("device `{path}`: a node cannot be of type `a`"))),
    })
}
