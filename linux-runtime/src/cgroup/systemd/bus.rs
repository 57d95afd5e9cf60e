//! A conversation with systemd: over its private socket, or over the bus where that is what this user may reach.

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::geteuid;

use super::message::{self, ERROR, Incoming, Method, REPLY, Reader, SIGNAL, Value, Writer};
use crate::error::{Error, Result};

/// How long an answer or a job may take: what systemd gives its own units. While it reads them again it answers nobody.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks at a unit, when systemd is silent.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Jobs that ended while an answer was awaited: path and result.
    ended: Vec<(String, String)>,
}

/// Where systemd listens: a socket of its own, which needs no bus, or the bus.
struct Place {
    socket: PathBuf,
    is_bus: bool,
}

/// What a job is to bring about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Active,
    Gone,
}

/// How a call ended that systemd refused.
struct Refusal {
    name: String,
    sentence: String,
}

impl Bus {
    /// Connects to this user's systemd: the machine's for root.
    pub(super) fn connect() -> Result<Bus> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places() {
            match Bus::open(&place) {
                Ok(bus) => return Ok(bus),
                Err(error) => last = error,
            }
        }
        Err(Error::Lacks(format!("`--systemd-cgroup`: no systemd can be reached: {last}")))
    }

    /// Starts a transient scope and waits until it stands.
    pub(super) fn start_scope(&mut self, scope: &str, properties: &[(&str, Value)]) -> io::Result<()> {
        let mut body = Writer::default();
        body.text(scope);
        body.text("replace");
        body.properties(properties);
        // No auxiliary units.
        body.array(8, |_| {});
        self.job("StartTransientUnit", "ssa(sv)a(sa(sv))", &body, (scope, Goal::Active))?.map_err(Refusal::told)
    }

    pub(super) fn set_properties(&mut self, scope: &str, properties: &[(&str, Value)]) -> io::Result<()> {
        let mut body = Writer::default();
        body.text(scope);
        // Until the next boot, as the scope itself.
        body.number(1);
        body.properties(properties);
        let answer = self.call(manager("SetUnitProperties"), "sba(sv)", &body)?;
        answer.map(drop).map_err(Refusal::told)
    }

    /// Stops a unit and waits until it has; one that is not there has stopped.
    pub(super) fn stop(&mut self, scope: &str) -> io::Result<()> {
        let mut body = Writer::default();
        body.text(scope);
        body.text("replace");
        match self.job("StopUnit", "ss", &body, (scope, Goal::Gone))? {
            Err(refusal) if refusal.name == NO_SUCH_UNIT => Ok(()),
            outcome => outcome.map_err(Refusal::told),
        }
    }

    /// The unit's group, from the root of the hierarchy.
    pub(super) fn control_group(&mut self, scope: &str) -> io::Result<String> {
        match self.property(scope, ("Scope", "ControlGroup"))?.map_err(Refusal::told)? {
            group if group.len() > 1 => Ok(group),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "systemd gave it no group")),
        }
    }

    /// A unit's property that is text, by its interface and name.
    fn property(&mut self, unit: &str, (interface, name): (&str, &str)) -> io::Result<Result<String, Refusal>> {
        let path = format!("/org/freedesktop/systemd1/unit/{}", escaped(unit));
        let properties = "org.freedesktop.DBus.Properties";
        let mut body = Writer::default();
        body.text(&format!("{SYSTEMD}.{interface}"));
        body.text(name);
        let method = Method { destination: SYSTEMD, path: &path, interface: properties, name: "Get" };
        let answer = match self.call(method, "ss", &body)? {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(answer) => answer,
        };
        let mut reader = Reader::new(&answer.body);
        match reader.signature()? {
            "s" => Ok(Ok(reader.text()?.to_owned())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn open(place: &Place) -> io::Result<Bus> {
        let stream = UnixStream::connect(&place.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bus = Bus { stream, serial: 0, ended: Vec::new() };
        bus.authenticate()?;
        if place.is_bus {
            bus.register()?;
        }
        Ok(bus)
    }

    /// The socket's credentials are what counts; the name only chooses them. The end of the talk goes along with its
    /// beginning: systemd does not look again at a call that comes in one piece with the end, and would never answer it.
    fn authenticate(&mut self) -> io::Result<()> {
        let uid: String = geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > 1024 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if answer.starts_with(b"OK ") { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// On a bus one has a name, and hears what one asked for.
    fn register(&mut self) -> io::Result<()> {
        let bus = |name| Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name,
        };
        self.call(bus("Hello"), "", &Writer::default())?.map_err(Refusal::told)?;
        let mut rule = Writer::default();
        rule.text(&format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'"));
        self.call(bus("AddMatch"), "s", &rule)?.map_err(Refusal::told)?;
        self.call(manager("Subscribe"), "", &Writer::default())?.map(drop).map_err(Refusal::told)
    }

    /// Calls a method that begins a job, and waits until it has ended or its goal is reached: a reload of systemd's that
    /// comes between swallows the signal.
    fn job(
        &mut self,
        name: &str,
        signature: &str,
        body: &Writer,
        (unit, goal): (&str, Goal),
    ) -> io::Result<Result<(), Refusal>> {
        let answer = match self.call(manager(name), signature, body)? {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(answer) => answer,
        };
        let job = Reader::new(&answer.body).text()?.to_owned();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // It may have ended before its name was told.
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| *path == job) {
                let sentence = format!("its job ended as `{result}`");
                return Ok(if result == "done" { Ok(()) } else { Err(Refusal { name: String::new(), sentence }) });
            }
            let silent = poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&LOOK))? == 0;
            if !silent {
                self.next()?;
            } else if self.has_reached(unit, goal)? {
                return Ok(Ok(()));
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "its job did not end in time"))
    }

    fn has_reached(&mut self, unit: &str, goal: Goal) -> io::Result<bool> {
        let state = self.property(unit, ("Unit", "ActiveState"))?;
        Ok(match (state, goal) {
            (Ok(state), Goal::Active) => state == "active",
            (Ok(state), Goal::Gone) => state == "inactive" || state == "failed",
            (Err(_), goal) => goal == Goal::Gone,
        })
    }

    /// Calls and waits for the answer.
    fn call(&mut self, method: Method<'_>, signature: &str, body: &Writer) -> io::Result<Result<Incoming, Refusal>> {
        self.serial += 1;
        self.stream.write_all(&message::call(self.serial, method, signature, body))?;
        loop {
            let message = self.next()?;
            match message.kind {
                REPLY if message.answers == self.serial => return Ok(Ok(message)),
                ERROR if message.answers == self.serial => {
                    let sentence = Reader::new(&message.body).text().unwrap_or_default().to_owned();
                    return Ok(Err(Refusal { name: message.error, sentence }));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> io::Result<Incoming> {
        let mut start = [0; 16];
        self.stream.read_exact(&mut start)?;
        let (fields, body) = message::rest(start)?;
        let mut rest = vec![0; fields + body];
        self.stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields);
        let message = Incoming::parse(start, &rest, body)?;
        if message.kind == SIGNAL && message.member == "JobRemoved" {
            let mut reader = Reader::new(&message.body);
            let (_, path, _, result) = (reader.number()?, reader.text()?, reader.text()?, reader.text()?);
            self.ended.push((path.to_owned(), result.to_owned()));
        }
        Ok(message)
    }
}

impl Refusal {
    fn told(self) -> io::Error {
        io::Error::other(if self.sentence.is_empty() { self.name } else { self.sentence })
    }
}

fn manager(name: &str) -> Method<'_> {
    Method { destination: SYSTEMD, path: "/org/freedesktop/systemd1", interface: MANAGER, name }
}

fn places() -> Vec<Place> {
    let own = |folder: &Path| Place { socket: folder.join("systemd/private"), is_bus: false };
    if geteuid().is_root() {
        return vec![
            own(Path::new("/run")),
            Place { socket: PathBuf::from("/run/dbus/system_bus_socket"), is_bus: true },
        ];
    }
    let Some(folder) = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) else { return Vec::new() };
    vec![own(&folder), Place { socket: folder.join("bus"), is_bus: true }]
}

/// A unit's name as the end of an object's path: what is neither letter nor digit is `_` and two digits.
fn escaped(name: &str) -> String {
    let letter = |(at, byte): (usize, u8)| {
        if byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit() {
            (byte as char).to_string()
        } else {
            format!("_{byte:02x}")
        }
    };
    name.bytes().enumerate().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_object_has_an_escaped_name() {
        assert_eq!(escaped("proa-linux-c1.scope"), "proa_2dlinux_2dc1_2escope");
        assert_eq!(escaped("1a"), "_31a");
    }
}
