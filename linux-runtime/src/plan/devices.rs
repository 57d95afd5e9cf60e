//! Devices (config-linux.md, "Default Devices" and "Devices"): nodes of a tmpfs of our own where the specification mounts
//! one on /dev, never the image's directory; else nodes beneath the root. Where no node can be made, the host's own are
//! mounted.

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Mount, Process, Spec};

use super::ids::Ids;
use super::mounts::{self, Options};
use super::namespaces::Namespaces;
use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Node, Slot, Target};

/// Name, major and minor of the nodes every container has.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Name and target of the links every container has.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What stands on /dev.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dev<'a> {
    /// A tmpfs of ours: which of the mounts, and its options.
    Own(usize, &'a Mount),
    /// The root's own directory, or another file system: nodes are made there.
    Root,
    /// A bind mount, such as the host's /dev: nothing is made in it.
    Bound,
}

/// The devices of a container.
#[derive(Debug)]
pub(super) struct Devices<'a> {
    dev: Dev<'a>,
    /// Of the tmpfs.
    inside: Vec<Node>,
    /// Beneath the root, after all mounts: folders and what is made in them.
    beneath: Vec<(Beneath, Vec<Node>)>,
    /// The host's own: opened, and where they go.
    mounted: Vec<(Slot, Beneath)>,
    owner: Owner<'a>,
}

/// Whose the nodes are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// The container's users are the host's.
    Host,
    /// Users of a namespace of its own.
    Mapped(&'a Ids),
    /// Users of somebody else's namespace, whose maps nobody has told, or of one over whose outside the runtime has no rights.
    Foreign,
}

impl Owner<'_> {
    pub(super) fn of<'a>(ids: Option<&'a Ids>, namespaces: &Namespaces) -> Owner<'a> {
        match ids {
            Some(ids) => Owner::Mapped(ids),
            None if namespaces.has(LinuxNamespaceType::User) => Owner::Foreign,
            None => Owner::Host,
        }
    }
}

impl<'a> Dev<'a> {
    /// The last mount on /dev is what is seen.
    pub(super) fn find(spec: &'a Spec) -> Dev<'a> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let on_dev = |(_, mount): &(usize, &Mount)| place(&mount.destination().to_string_lossy()) == "/dev";
        let Some((number, mount)) = mounts.iter().enumerate().rfind(on_dev) else { return Dev::Root };
        match (mount.typ().as_deref(), Options::parse(mount)) {
            (_, Ok(options)) if options.is_bind() => Dev::Bound,
            (Some("tmpfs"), _) => Dev::Own(number, mount),
            _ => Dev::Root,
        }
    }
}

impl Draft {
    /// Sorts the devices by how they come to be, and opens what is the host's.
    pub(super) fn devices<'a>(
        &mut self,
        spec: &'a Spec,
        linux: &Linux,
        process: &Process,
        (owner, facts): (Owner<'a>, &Facts),
    ) -> Result<Devices<'a>> {
        let dev = Dev::find(spec);
        let mut devices = Devices { dev, inside: Vec::new(), beneath: Vec::new(), mounted: Vec::new(), owner };
        for node in default_nodes()? {
            self.device(&mut devices, spec, ("/dev", node), facts)?;
        }
        for device in linux.devices().iter().flatten() {
            let path = device.path().to_string_lossy().into_owned();
            let (folder, name) = place_of(&path)?;
            self.device(&mut devices, spec, (&folder, node(device, &name)?), facts)?;
        }
        for (name, to) in LINKS {
            let node = Node::Link { name: c_string(name, "a name")?, to: c_string(to, "a name")? };
            self.device(&mut devices, spec, ("/dev", node), facts)?;
        }
        if process.terminal().unwrap_or(false) {
            let node = Node::File { name: c_string("console", "a name")? };
            self.device(&mut devices, spec, ("/dev", node), facts)?;
        }
        devices.folders(spec)?;
        Ok(devices)
    }

    fn device(
        &mut self,
        devices: &mut Devices<'_>,
        spec: &Spec,
        (folder, node): (&str, Node),
        facts: &Facts,
    ) -> Result<()> {
        let name = node.name().to_string_lossy().into_owned();
        let whole = format!("{folder}/{name}");
        let below_dev = whole.strip_prefix("/dev/");
        if below_dev.is_some() && matches!(devices.dev, Dev::Bound) {
            return Ok(());
        }
        let covered = covered(spec, &whole);
        let inside = below_dev.filter(|_| matches!(devices.dev, Dev::Own(..)) && !covered);
        let numbers = node.numbers();
        // A node on a mount that belongs to a user namespace opens nothing, and the child could not make it.
        let bound = numbers.filter(|_| match devices.owner {
            Owner::Host => !facts.devices,
            Owner::Mapped(_) => !facts.devices || inside.is_none(),
            Owner::Foreign => true,
        });
        let beneath = |path: &str| Beneath::new(path).map_err(|_| Error::Nul { what: "a device's path" });
        if let Some((block, major, minor)) = bound {
            let into = self.slot();
            let path = c_string(whole.as_str(), "a device's path")?;
            self.push(Actor::Host, Action::OpenDevice { path, block, major, minor, into });
            let path = beneath(&whole)?;
            devices.mounted.retain(|(_, known)| *known != path);
            devices.mounted.push((into, path));
        } else if let Some(name) = inside {
            // The helper who makes it knows owners by their ids outside.
            let unknown = || Error::Plan(format!("device `{whole}`: its owner is no user of the container"));
            let node = match devices.owner {
                Owner::Mapped(ids) => node.owned(|uid, gid| ids.outside(uid, gid)).ok_or_else(unknown)?,
                Owner::Host | Owner::Foreign => node,
            };
            add(&mut devices.inside, node.named(c_string(name, "a device's path")?))?;
        } else {
            let folder = beneath(folder)?;
            match devices.beneath.iter_mut().find(|(known, _)| *known == folder) {
                Some((_, nodes)) => {
                    nodes.retain(|known| known.name() != node.name());
                    nodes.push(node);
                }
                None => devices.beneath.push((folder, vec![node])),
            }
        }
        Ok(())
    }

    /// Makes the tmpfs where device nodes may be made: under a user namespace only the helper may.
    pub(super) fn make_dev(&mut self, devices: &mut Devices<'_>) -> Result<Option<(usize, Slot)>> {
        let Dev::Own(number, mount) = devices.dev else { return Ok(None) };
        let options = Options::parse(mount)?;
        let into = self.slot();
        // Root of a namespace that is not known makes it, and then it is its own.
        let (owner, actor) = match devices.owner {
            Owner::Mapped(ids) => (ids.owner().0, self.assembler),
            Owner::Host => (0, self.assembler),
            Owner::Foreign => (0, Actor::Child),
        };
        let nodes = std::mem::take(&mut devices.inside);
        let action = Action::MakeDev {
            options: mounts::configuration(mount, &options)?,
            attributes: options.attributes(),
            nodes,
            owner,
            into,
        };
        if actor == Actor::Child {
            // In the specification's order, by which the kernel numbers and lists mounts.
            self.dev = Some(action);
        } else {
            self.insert_assembly(vec![(actor, action)]);
        }
        Ok(Some((number, into)))
    }

    /// What stands beneath the root, when its mounts are there.
    pub(super) fn place_devices(&mut self, devices: Devices<'_>, root: Slot) {
        for (folder, nodes) in devices.beneath {
            self.push(Actor::Child, Action::MakeNodes { root, folder, nodes });
        }
        for (mount, path) in devices.mounted {
            let target = Target { base: root, path, no_symlinks: true };
            self.push(Actor::Child, Action::Attach { mount, target });
        }
    }
}

impl Devices<'_> {
    /// The points of mounts directly on the tmpfs, made where that is cheapest.
    fn folders(&mut self, spec: &Spec) -> Result<()> {
        let Dev::Own(number, _) = self.dev else { return Ok(()) };
        for mount in spec.mounts().iter().flatten().skip(number + 1) {
            let path = place(&mount.destination().to_string_lossy());
            let Some(name) = path.strip_prefix("/dev/").filter(|name| !name.contains('/')) else { continue };
            // Only a source itself tells whether it is a file.
            let is_bind = Options::parse(mount)?.is_bind();
            let name = c_string(name, "a name")?;
            if !is_bind && self.inside.iter().all(|node| *node.name() != name) {
                self.inside.push(Node::Directory { name });
            }
        }
        Ok(())
    }
}

fn default_nodes() -> Result<Vec<Node>> {
    let node = |(name, major, minor)| {
        Ok(Node::Character { name: c_string(name, "a name")?, major, minor, mode: 0o666, uid: 0, gid: 0 })
    };
    NODES.into_iter().map(node).collect()
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

/// A path's meaning, by its words alone.
fn place(path: &str) -> String {
    Beneath::new(path).map_or_else(|_| String::new(), |path| path.to_string())
}

/// Folder and name of a device.
fn place_of(path: &str) -> Result<(String, String)> {
    let whole = place(path);
    let named = whole.rsplit_once('/').filter(|(_, name)| !name.is_empty() && path.starts_with('/'));
    let (folder, name) = named.ok_or_else(|| Error::Plan(format!("device `{path}`: it is no path of a file")))?;
    Ok((folder.to_owned(), name.to_owned()))
}

/// Whether a mount below /dev stands over the place.
fn covered(spec: &Spec, path: &str) -> bool {
    let over = |mount: &Mount| {
        let point = place(&mount.destination().to_string_lossy());
        point.starts_with("/dev/") && path.strip_prefix(&point).is_some_and(|rest| rest.starts_with('/'))
    };
    spec.mounts().iter().flatten().any(over)
}

fn node(device: &LinuxDevice, name: &str) -> Result<Node> {
    let path = device.path().display();
    let name = c_string(name, "a device's path")?;
    let number = |number: i64| u32::try_from(number).map_err(|_| Error::Plan(format!("device `{path}`: bad number")));
    let (major, minor) = (number(device.major())?, number(device.minor())?);
    let mode = device.file_mode().unwrap_or(0o666) & 0o777;
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    Ok(match device.typ() {
        LinuxDeviceType::B => Node::Block { name, major, minor, mode, uid, gid },
        LinuxDeviceType::P => Node::Fifo { name, mode, uid, gid },
        LinuxDeviceType::C | LinuxDeviceType::U => Node::Character { name, major, minor, mode, uid, gid },
        LinuxDeviceType::A => return Err(Error::Plan(format!("device `{path}`: a node cannot be of type `a`"))),
    })
}
