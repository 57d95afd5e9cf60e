//! A host for one worker, and modules to run in it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proa_wasm::worker::protocol::{
    Answer, Blob, Body, Exit, Failure, FromWorker, INLINE, Identity, Request, Stream, ToWorker, VERSION,
};
use proa_wasm::worker::{Channel, Worker};
use proa_wasm::{CODE, Engine, Grant, ModuleKind, Plan, compiler};

/// What guests of this kit get.
pub(crate) struct Settings {
    pub(crate) memory: u64,
}

pub(crate) const START: Settings = Settings { memory: 8 << 20 };

/// A module with the imports the tests use and one page of memory, written by its functions and data.
pub(crate) fn module(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             {body})"#
    );
    wat::parse_str(text).unwrap()
}

/// Compiled code, each module once.
fn compiled(bytes: &[u8], kind: ModuleKind) -> Vec<u8> {
    static KNOWN: Mutex<BTreeMap<Vec<u8>, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known
        .entry(bytes.to_vec())
        .or_insert_with(|| {
            let (facts, code) = compiler::compile(&Engine::for_compiling().unwrap(), bytes).unwrap();
            assert_eq!(facts.kind, kind);
            code
        })
        .clone()
}

pub(crate) enum Stdin {
    None,
    Pipe,
    Terminal,
}

/// How a guest ended and what it said.
pub(crate) struct End {
    pub(crate) id: String,
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl End {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

#[derive(Default)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<Exit>,
}

pub(crate) struct Host {
    /// The worker, if it lives in this process.
    worker: Option<Arc<Worker>>,
    channel: Channel,
    number: u64,
    seen: HashMap<String, Seen>,
    inputs: HashMap<String, OwnedFd>,
    held: usize,
}

impl Host {
    /// A fresh worker and a host connected to it.
    pub(crate) async fn connect() -> Host {
        let identity =
            Identity { worker: "test".to_owned(), tenant: "default".to_owned(), instances: 16, single: false };
        let engine = Engine::for_running(16).unwrap();
        Host::attach(Worker::new(engine, identity, tokio::runtime::Handle::current())).await
    }

    /// The same worker under a new host; this one is gone.
    pub(crate) async fn reconnect(self) -> Host {
        let worker = self.worker.clone().unwrap();
        drop(self);
        Host::attach(worker).await
    }

    async fn attach(worker: Arc<Worker>) -> Host {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let serving = Arc::clone(&worker);
        tokio::spawn(async move { serving.attend(there).await });
        Host::over(here, Some(worker)).await
    }

    /// A host for the worker at the other end of `socket`.
    pub(crate) async fn over(socket: OwnedFd, worker: Option<Arc<Worker>>) -> Host {
        let channel = Channel::new(socket).unwrap();
        let mut host = Host { worker, channel, number: 0, seen: HashMap::new(), inputs: HashMap::new(), held: 0 };
        host.call(Request::Hello { version: VERSION }).await.unwrap();
        host
    }

    /// Guests the worker held before this host came.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) async fn run(&mut self, bytes: &[u8], stdin: Stdin) -> End {
        let id = self.start(bytes, stdin).await;
        self.wait(&id).await
    }

    pub(crate) async fn start(&mut self, bytes: &[u8], stdin: Stdin) -> String {
        let id = self.create(bytes, stdin, &[]).await;
        self.call(Request::Start { id: id.clone() }).await.unwrap();
        id
    }

    pub(crate) async fn create(&mut self, bytes: &[u8], stdin: Stdin, directories: &[(&Path, bool)]) -> String {
        self.create_with(bytes, ModuleKind::Module, &["guest"], stdin, directories, START.memory).await
    }

    /// A guest with arguments, directories at `/data` and a memory limit.
    pub(crate) async fn create_with(
        &mut self,
        bytes: &[u8],
        kind: ModuleKind,
        arguments: &[&str],
        stdin: Stdin,
        directories: &[(&Path, bool)],
        memory: u64,
    ) -> String {
        let mut grants = vec![
            Grant::World(kind),
            Grant::Memory(memory),
            Grant::Arguments(arguments.iter().map(|&argument| argument.to_owned()).collect()),
            Grant::Environment(vec![("NAME".to_owned(), "value".to_owned())]),
        ];
        let mut descriptors = Vec::new();
        let mut input = None;
        match stdin {
            Stdin::None => grants.push(Grant::Log),
            Stdin::Pipe => {
                let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
                input = Some(write.try_clone().unwrap());
                descriptors.extend([read, write]);
                grants.push(Grant::Pipe);
            }
            Stdin::Terminal => {
                use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                let outer = openpt(flags).unwrap();
                unlockpt(&outer).unwrap();
                input = Some(outer.try_clone().unwrap());
                descriptors.extend([ioctl_tiocgptpeer(&outer, flags).unwrap(), outer]);
                grants.push(Grant::Terminal);
            }
        }
        for (path, read_only) in directories {
            descriptors.push(OwnedFd::from(File::open(path).unwrap()));
            grants.push(Grant::Preopen { guest: "/data".to_owned(), read_only: *read_only });
        }
        let id = self.make(bytes, kind, grants, descriptors).await;
        if let Some(input) = input {
            self.inputs.insert(id.clone(), input);
        }
        id
    }

    /// Starts a sample command with arguments and runs it to its end.
    pub(crate) async fn probe(&mut self, arguments: &[&str], directories: &[(&Path, bool)]) -> End {
        let mut all = vec!["probe"];
        all.extend(arguments);
        let bytes = proa_samples::PROBE_COMPONENT;
        let id = self.create_with(bytes, ModuleKind::Command, &all, Stdin::None, directories, 64 << 20).await;
        self.call(Request::Start { id: id.clone() }).await.unwrap();
        self.wait(&id).await
    }

    pub(crate) async fn create_http(&mut self, bytes: &[u8], listener: std::net::TcpListener) -> String {
        let grants = vec![
            Grant::World(ModuleKind::Http),
            Grant::Memory(256 << 20),
            Grant::Log,
            Grant::Listener(listener.local_addr().unwrap().to_string()),
        ];
        self.make(bytes, ModuleKind::Http, grants, vec![listener.into()]).await
    }

    async fn make(&mut self, bytes: &[u8], kind: ModuleKind, grants: Vec<Grant>, descriptors: Vec<OwnedFd>) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = format!("guest-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let code = compiled(bytes, kind);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CODE), code).unwrap();
        let handle = OwnedFd::from(File::open(folder.path()).unwrap());
        self.call_with(Request::Load { key: id.clone(), kind }, vec![handle]).await.unwrap();
        let plan = postcard::to_stdvec(&Plan { grants }).unwrap();
        let mut handles = Vec::new();
        let length = plan.len() as u64;
        let plan = if plan.len() <= INLINE {
            Body::Inline(Blob(plan))
        } else {
            let mut memory = tempfile::tempfile().unwrap();
            memory.write_all(&plan).unwrap();
            handles.push(memory.into());
            Body::Beside(length)
        };
        handles.extend(descriptors);
        let create = Request::Create { id: id.clone(), key: id.clone(), plan, within: None };
        self.call_with(create, handles).await.unwrap();
        id
    }

    /// The write end of a guest's input; writes wait.
    pub(crate) fn input(&self, id: &str) -> File {
        let handle = self.inputs[id].try_clone().unwrap();
        rustix::io::ioctl_fionbio(&handle, false).unwrap();
        File::from(handle)
    }

    pub(crate) async fn close_input(&mut self, id: &str) {
        self.inputs.remove(id);
        self.call(Request::CloseInput { id: id.to_owned() }).await.unwrap();
    }

    pub(crate) async fn call(&mut self, request: Request) -> Result<Answer, Failure> {
        self.call_with(request, Vec::new()).await
    }

    async fn call_with(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<Answer, Failure> {
        let number = self.number;
        self.number += 1;
        let handles: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.channel.send(&ToWorker::Call { number, request }, &handles).await.unwrap();
        loop {
            if let Some(FromWorker::Done { number: answered, outcome }) = self.next(true).await
                && answered == number
            {
                return outcome;
            }
        }
    }

    pub(crate) async fn wait(&mut self, id: &str) -> End {
        self.collect(id, true).await;
        let seen = self.seen.remove(id).unwrap();
        End { id: id.to_owned(), exit: seen.exit.unwrap(), stdout: seen.stdout, stderr: seen.stderr }
    }

    /// Reads until the guest's end without telling the worker that anything was recorded.
    pub(crate) async fn wait_unacknowledged(&mut self, id: &str) {
        self.collect(id, false).await;
    }

    pub(crate) async fn read_output(&mut self, id: &str, length: usize) -> Vec<u8> {
        while self.seen(id).stdout.len() < length {
            self.next(true).await;
        }
        self.seen(id).stdout.clone()
    }

    pub(crate) async fn read_output_unacknowledged(&mut self, id: &str, length: usize) {
        while self.seen(id).stdout.len() < length {
            self.next(false).await;
        }
    }

    async fn collect(&mut self, id: &str, acknowledge: bool) {
        while self.seen(id).exit.is_none() {
            self.next(acknowledge).await;
        }
    }

    fn seen(&mut self, id: &str) -> &mut Seen {
        self.seen.entry(id.to_owned()).or_default()
    }

    /// The next message; what belongs to a guest is filed.
    async fn next(&mut self, acknowledge: bool) -> Option<FromWorker> {
        let (message, descriptors) = self.channel.receive().await.unwrap().expect("the worker closed its connection");
        match message {
            FromWorker::Output { id, number, stream, bytes } => {
                let seen = self.seen(&id);
                match stream {
                    Stream::Stdout => seen.stdout.extend(bytes.0),
                    Stream::Stderr => seen.stderr.extend(bytes.0),
                }
                if acknowledge {
                    self.channel.send(&ToWorker::Acknowledge { id, through: number }, &[]).await.unwrap();
                }
                None
            }
            FromWorker::Exited { id, exit } => {
                self.seen(&id).exit = Some(exit);
                None
            }
            FromWorker::Held { id, .. } => {
                self.held += 1;
                self.inputs.extend(descriptors.into_iter().next().map(|input| (id, input)));
                None
            }
            other => Some(other),
        }
    }
}
