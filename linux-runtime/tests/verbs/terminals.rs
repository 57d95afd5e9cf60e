//! Terminals: at a socket, and carried by the program itself.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use libtest_mimic::Failed;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("create sends the terminal to the console socket", create),
    ("exec sends its terminal to the console socket", exec),
    ("run carries the bytes of a terminal", run),
    ("a terminal without anybody to take it is refused", refused),
];

/// The descriptor that comes over a connection.
fn receive(stream: &UnixStream) -> Result<OwnedFd, Failed> {
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    received.ok_or_else(|| "no descriptor came".into())
}

/// What is written to a terminal until everybody has closed it.
fn read_all(master: OwnedFd) -> String {
    let mut file = std::fs::File::from(master);
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        text.extend(&buffer[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn create(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.spec["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    bundle.runs(&["sh", "-c", "tty; stty size; echo console >/dev/console; readlink /proc/self/fd/0"]).write()?;
    let socket = bundle.path("console");
    let listener = UnixListener::bind(&socket)?;
    let taken = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    bundle.program(&["create", "--console-socket", &socket, &bundle.id])?.succeeded()?;
    let stream = taken.join().map_err(|_| "the listener panicked")??;
    let master = receive(&stream)?;
    bundle.program(&["start", &bundle.id])?.succeeded()?;
    assert_eq!(read_all(master), "/dev/pts/0\r\n33 77\r\nconsole\r\n/dev/pts/0\r\n");
    bundle.becomes("stopped")
}

fn exec(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let socket = bundle.path("console");
    let listener = UnixListener::bind(&socket)?;
    let taken = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    let words =
        ["exec", "--tty", "--detach", "--console-socket", &socket, &bundle.id, "sh", "-c", "read word; echo got $word"];
    bundle.program(&words)?.succeeded()?;
    let master = receive(&taken.join().map_err(|_| "the listener panicked")??)?;
    std::fs::File::from(master.try_clone()?).write_all(b"this\n")?;
    assert_eq!(read_all(master), "this\r\ngot this\r\n");
    Ok(())
}

fn run(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.runs(&["sh", "-c", "tty; read word; echo got $word; exit 6"]).write()?;
    let mut child = bundle
        .command(&["run", &bundle.id])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no input")?.write_all(b"this\n")?;
    let ended = child.wait_with_output()?;
    assert_eq!(String::from_utf8_lossy(&ended.stdout).replace("this\r\n", ""), "/dev/pts/0\r\ngot ");
    assert_eq!(ended.status.code(), Some(6));
    Ok(())
}

fn refused(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.runs(&["true"]).write()?;
    bundle.program(&["create", &bundle.id])?.refused("needs --console-socket");
    bundle.program(&["run", "--detach", &bundle.id])?.refused("needs --console-socket");
    bundle
        .program(&["create", "--console-socket", &bundle.path("nobody"), &bundle.id])?
        .refused("send the terminal to");
    bundle.spec["process"]["terminal"] = json!(false);
    bundle.write()?;
    bundle.program(&["create", "--console-socket", "x", &bundle.id])?.refused("the process has no terminal");
    Ok(())
}
