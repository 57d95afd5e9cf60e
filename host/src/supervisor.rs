//! One task per running container: its output into the log, its end into the record, then what it held given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use proa_sandbox::{Kind, Output, Sandbox};

use crate::error::Error;
use crate::host::{Host, program_code};
use crate::permit::Permit;
use crate::state::Container;
use crate::timestamp::unix_nanos;

/// How long a pump waits before it tries a full disk again; its guest waits meanwhile, and nothing is dropped unless the
/// guest was ended by force.
const DISK_PAUSE: Duration = Duration::from_millis(250);

/// How often a record is offered to a disk that had no room for it.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// Sees a started container to its end, and on to its next run where it is to have one.
pub async fn supervise(host: Arc<Host>, container: Arc<Container>, sandbox: Sandbox, permit: Permit) {
    host.watch_health(&container);
    // All it printed is in the log before anybody hears that it ended.
    let over = AtomicBool::new(false);
    let ending = async {
        let exit = sandbox.wait().await;
        over.store(true, Ordering::Release);
        exit
    };
    let (exit, dropped) = tokio::join!(ending, pump(&container, sandbox.output(), &over));
    if dropped > 0 {
        let container = container.id();
        tracing::error!(
            container,
            "{dropped} bytes of its output are lost: the disk had no room, and it was ended by force"
        );
    }
    drop(permit);
    let auto_remove = container.with(|record| record.host_config.auto_remove == Some(true)) && !container.is_kept();
    if auto_remove {
        // Whoever is told of the end may use the name at once.
        let name = container.with(|record| record.name.clone());
        host.containers.release(&name, container.id());
    }
    // A record that is about to go needs no rewriting: the runtime keeps the status until it is acknowledged.
    let (pause, written) = container.end(&exit, !auto_remove);
    if let Err(error) = written {
        write_later(&container, &error);
    }
    if exit.oom_killed {
        host.events.container(&container, "oom", &[]);
    }
    {
        // Whoever signalled it tells so first.
        let _motion = container.motion.write().await;
        died(&host, &container);
    }
    delete(&container, &sandbox).await;
    host.tell_of_network("disconnect", &container);
    host.tell_of_mounts("unmount", &container);
    if auto_remove {
        host.discard(&container).await;
        return;
    }
    container.log().rest();
    if let Some(pause) = pause {
        host.revive(&container, pause);
    }
}

/// Tells that a run is over; 255 stands for a code nobody knows.
pub fn died(host: &Host, container: &Container) {
    let (code, ran) = container.with(|record| {
        let ran = record.finished.unwrap_or(0).saturating_sub(record.started.unwrap_or(u64::MAX));
        (record.exit_code.unwrap_or(u8::MAX), ran / 1_000_000_000)
    });
    let attributes = [("exitCode", code.to_string()), ("execDuration", ran.to_string())];
    host.events.container(container, "die", &attributes);
}

/// Reports that the disk did not take a record, and offers it again until it does: what happened stays true meanwhile,
/// for this host.
pub fn write_later(container: &Arc<Container>, error: &Error) {
    tracing::error!(container = container.id(), "{}; it is tried again until there is room", error.sentence());
    let container = container.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RECORD_PAUSE).await;
            if container.news().borrow().gone {
                return;
            }
            match container.write_again() {
                Some(Err(_)) => {}
                Some(Ok(())) => return tracing::info!(container = container.id(), "its record is on the disk again"),
                None => return,
            }
        }
    });
}

/// Deletes a sandbox (which acknowledges its exit) and lets go of it.
pub async fn delete(container: &Container, sandbox: &Sandbox) {
    if let Err(source) = sandbox.delete().await {
        let error = Error::Sandbox { attempt: "delete the sandbox of", container: container.id().to_owned(), source };
        tracing::error!("{}", error.sentence());
    }
    container.let_go();
}

/// Waits until nothing is left of a container's last run.
pub async fn until_free(container: &Container) {
    // The sender lives in the container, so this cannot fail.
    let _ = container.news().wait_for(|news| news.free).await;
}

/// Makes a failed start's error what Docker's clients look for: `no such file or directory` is exit code 127,
/// `permission denied` 126.
pub fn explain_start(error: Error, container: &Container) -> Error {
    let Error::Sandbox { source, .. } = &error else { return error };
    let Some(code) = program_code(source.kind()) else { return error };
    let program = container.with(|record| crate::request::arguments(&record.config).into_iter().next());
    Error::StartProgram { code, message: start_message(&program.unwrap_or_default(), code, source) }
}

/// The sentence for a program that cannot begin.
pub fn start_message(program: &str, code: u8, cause: &proa_sandbox::Error) -> String {
    let cause = crate::error::chain(cause);
    let said: &[&str] =
        if code == 127 { &["no such file or directory"] } else { &["permission denied", "is a directory"] };
    let sentence = format!("failed to create task for container: exec: \"{program}\": {cause}");
    if said.iter().any(|said| sentence.contains(said)) { sentence } else { format!("{sentence}: {}", said[0]) }
}

/// Moves all output into the log; answers how many bytes had to be dropped.
async fn pump(container: &Container, output: Option<Output>, over: &AtomicBool) -> usize {
    let mut dropped = 0;
    let Some(mut output) = output else { return dropped };
    loop {
        let error = match output.peek().await {
            Ok(Some(chunk)) => {
                dropped += record(container, &chunk, over).await;
                output.consume().await.err()
            }
            Ok(None) => return dropped,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            lost(container, &error);
            return dropped;
        }
    }
}

/// Appends a piece to the log, and waits while the disk is full; the number of bytes for which there is no use in that.
async fn record(container: &Container, chunk: &proa_sandbox::Chunk, over: &AtomicBool) -> usize {
    let mut told = false;
    let nanos = unix_nanos(SystemTime::now());
    let mut rest = &chunk.bytes[..];
    while !rest.is_empty() {
        container.log().room(rest.len()).await;
        let Err(error) = container.log().append_some(chunk.stream, nanos, &mut rest) else { continue };
        // A full disk stops the guest, as a full pipe does; a log whose folder is gone has no reader.
        if error.kind() == std::io::ErrorKind::NotFound {
            return 0;
        }
        // To remove it may be what makes room.
        if over.load(Ordering::Acquire) && container.is_forced() {
            return rest.len();
        }
        if !std::mem::replace(&mut told, true) {
            tracing::error!(container = container.id(), "write the log: {error}; its guest waits");
        }
        tokio::time::sleep(DISK_PAUSE).await;
    }
    0
}

fn lost(container: &Container, error: &proa_sandbox::Error) {
    if error.kind() != Kind::Conflict {
        tracing::error!(container = container.id(), "read its output: {error}");
    }
}

#[cfg(test)]
mod tests {
    use proa_sandbox::{Chunk, Error, Isolation, Kind, Stream};

    use super::*;
    use crate::state::log::Log;

    #[tokio::test]
    async fn a_full_disk_holds_a_container_until_it_is_ended_by_force() {
        let record_of = crate::spec::tests::record(Isolation::Linux);
        let container = Container::new(record_of, "/nowhere".into(), Log::new("/dev/full".into()));
        let chunk = Chunk { stream: Stream::Stdout, bytes: b"lost".to_vec() };
        let over = AtomicBool::new(true);
        let waiting = tokio::time::timeout(Duration::ZERO, record(&container, &chunk, &over)).await;
        assert!(waiting.is_err(), "nothing is dropped unasked");
        container.force();
        assert_eq!(record(&container, &chunk, &over).await, 4);
        over.store(false, Ordering::Release);
        let waiting = tokio::time::timeout(Duration::ZERO, record(&container, &chunk, &over)).await;
        assert!(waiting.is_err(), "a guest that still runs waits");
    }

    #[test]
    fn docker_s_clients_find_the_words_they_look_for() {
        let say = |code, text: &str| start_message("x", code, &Error::new(Kind::NotFound, text));
        assert!(say(127, "step 3: not found").ends_with("no such file or directory"));
        assert!(say(126, "step 3: exec format error").contains("permission denied"));
        assert!(!say(126, "is a directory").contains("permission denied"));
    }

    #[test]
    fn the_kernel_s_words_are_not_said_twice() {
        let cause = Error::new(Kind::NotFound, "step 3").caused_by(std::io::Error::from_raw_os_error(2));
        let text = start_message("x", 127, &cause);
        assert_eq!(text, "failed to create task for container: exec: \"x\": step 3: no such file or directory");
    }
}
