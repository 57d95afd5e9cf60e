//! Wasm guests through the waist: a real zygote, confined workers and compilers.
//!
//! Each case has a root of its own. What this machine or user cannot do shows as ignored, with the reason.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use oci_spec_runtime::{bind, spec};
use proa_sandbox::{Artifact, Config, Content, Exit, Isolation, Kind, Runtimes, Sandbox, State, Workload};

mod oci_spec_runtime {
    use std::path::Path;

    use oci_spec::runtime::{
        LinuxBuilder, LinuxMemoryBuilder, LinuxResourcesBuilder, Mount, MountBuilder, ProcessBuilder, Spec, SpecBuilder,
    };

    pub(crate) fn spec(arguments: &[&str], mounts: Vec<Mount>, memory: Option<i64>) -> Spec {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = ProcessBuilder::default().args(arguments).env(vec!["NAME=value".to_owned()]).cwd("/");
        let mut resources = LinuxResourcesBuilder::default();
        if let Some(limit) = memory {
            resources = resources.memory(LinuxMemoryBuilder::default().limit(limit).build().unwrap());
        }
        let linux = LinuxBuilder::default().resources(resources.build().unwrap()).build().unwrap();
        SpecBuilder::default().process(process.build().unwrap()).mounts(mounts).linux(linux).build().unwrap()
    }

    pub(crate) fn bind(source: &Path, destination: &str, option: &str) -> Mount {
        let options = vec!["rbind".to_owned(), option.to_owned()];
        MountBuilder::default().typ("bind").source(source).destination(destination).options(options).build().unwrap()
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("zygote") {
        return proa_sandbox::zygote_main();
    }
    let arguments = Arguments::from_args();
    let lacks = block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let all = runtimes.availability().await;
        let lacks = all.into_iter().find(|row| row.isolation == Isolation::Wasm).and_then(|row| row.lacks);
        runtimes.stop().await.unwrap();
        lacks
    });
    let mut trials = Vec::new();
    for isolation in [Isolation::Wasm, Isolation::WasmProcess] {
        let mut add = |name: &str, case: fn(Isolation)| {
            let trial = Trial::test(format!("{isolation}: {name}"), move || {
                case(isolation);
                Ok::<(), Failed>(())
            });
            trials.push(trial.with_ignored_flag(lacks.is_some()).with_kind(lacks.clone().unwrap_or_default()));
        };
        add("a guest runs to its own exit code", runs_to_its_own_exit_code);
        add("directories are granted as they are bound", directories_are_granted_as_bound);
        add("a guest's worker is confined", worker_is_confined);
        add("any guest ends by a signal", ends_by_a_signal);
        add("input is carried and half-closed", input_is_carried_and_half_closed);
        add("a guest outlives its host", outlives_its_host);
        add("a worker that dies takes its guests along", dead_worker_takes_its_guests_along);
        add("wrong modules are refused in a sentence", wrong_modules_are_refused);
        add("a component answers on a published port", answers_on_a_published_port);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn block_on<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), case).await });
    runtime.shutdown_background();
    result.expect("the case takes longer than two minutes")
}

/// A root directory and what is needed to open it.
struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        Node { root: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> (Runtimes, Vec<proa_sandbox::Adopted>) {
        let root = self.root.path();
        let name = root.file_name().unwrap().to_string_lossy().replace('.', "");
        let config =
            Config { run: root.join("run"), cache: root.join("cache"), cgroup_parent: format!("proa-test-{name}") };
        Runtimes::open(&config).await.unwrap_or_else(|error| panic!("open the runtimes: {}", chain(&error)))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn compile(&self, runtimes: &Runtimes, name: &str, bytes: &[u8]) -> Artifact {
        let module = self.file(name, bytes);
        let made = runtimes.compile(&format!("sha256:{name}"), &module).await;
        made.unwrap_or_else(|error| panic!("compile {name}: {}", chain(&error)))
    }
}

fn chain(error: &proa_sandbox::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn workload(isolation: Isolation, id: &str, artifact: &Artifact, spec: oci_spec::runtime::Spec) -> Workload {
    let content = Content::Module { artifact: artifact.clone(), files: None };
    Workload { id: id.to_owned(), tenant: "default".to_owned(), isolation, spec, content, stdin: false, init: false }
}

async fn create(runtimes: &Runtimes, workload: &Workload) -> Sandbox {
    let made = runtimes.create(workload, Vec::new()).await;
    made.unwrap_or_else(|error| panic!("create: {}", chain(&error)))
}

/// Everything it says until its streams end.
async fn read(sandbox: &Sandbox) -> String {
    let mut output = sandbox.output().expect("its output was taken");
    let mut bytes = Vec::new();
    while let Some(chunk) = output.peek().await.unwrap() {
        bytes.extend(chunk.bytes);
        output.consume().await.unwrap();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn finish(sandbox: Sandbox) -> (Exit, String) {
    sandbox.start().await.unwrap();
    let text = read(&sandbox).await;
    let exit = sandbox.wait().await;
    sandbox.delete().await.unwrap();
    (exit, text)
}

fn runs_to_its_own_exit_code(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        for (name, bytes) in [("module", proa_samples::PROBE_MODULE), ("component", proa_samples::PROBE_COMPONENT)] {
            let artifact = node.compile(&runtimes, name, bytes).await;
            let said = workload(isolation, "says", &artifact, spec(&["probe", "out", "hello"], vec![], None));
            let (exit, text) = finish(create(&runtimes, &said).await).await;
            assert_eq!((exit.code, text.as_str()), (Some(0), "hello\n"));
            let trap = workload(isolation, "traps", &artifact, spec(&["probe", "trap"], vec![], None));
            let (exit, text) = finish(create(&runtimes, &trap).await).await;
            assert_eq!(exit.code, Some(134));
            assert!(text.contains("deep_inside_the_guest"), "{text}");
            let hog = workload(isolation, "hogs", &artifact, spec(&["probe", "alloc", "64"], vec![], Some(32 << 20)));
            let (exit, text) = finish(create(&runtimes, &hog).await).await;
            assert_ne!(exit.code, Some(0), "{text}");
        }
        runtimes.stop().await.unwrap();
    });
}

fn directories_are_granted_as_bound(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        let folder = node.root.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let run = async |verb: &[&str], option: &str| {
            let mounts = vec![bind(&folder, "/data", option)];
            let one = workload(isolation, "files", &artifact, spec(&[&["probe"], verb].concat(), mounts, None));
            finish(create(&runtimes, &one).await).await
        };
        let (exit, text) = run(&["write", "/data/kept", "text"], "rw").await;
        assert_eq!(exit.code, Some(0), "{text}");
        assert_eq!(std::fs::read(folder.join("kept")).unwrap(), b"text");
        assert_eq!(run(&["read", "/data/kept"], "ro").await.1, "text");
        assert_ne!(run(&["write", "/data/kept", "other"], "ro").await.0.code, Some(0));
        let missing = vec![bind(Path::new("/nowhere/at/all"), "/data", "rw")];
        let one = workload(isolation, "files", &artifact, spec(&["probe"], missing, None));
        let error = runtimes.create(&one, Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("`/nowhere/at/all` does not exist"), "{error}");
        runtimes.stop().await.unwrap();
    });
}

fn worker_is_confined(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        let one = workload(isolation, "spins", &artifact, spec(&["probe", "spin"], vec![], None));
        let guest = create(&runtimes, &one).await;
        guest.start().await.unwrap();
        let pid = guest.pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"] {
            assert!(status.lines().any(|found| found == line), "`{line}` is not in:\n{status}");
        }
        if let Ok(root) = std::fs::read_dir(format!("/proc/{pid}/root/")) {
            assert_eq!(root.count(), 0, "its root is not empty");
        }
        guest.delete().await.unwrap();
        runtimes.stop().await.unwrap();
    });
}

fn ends_by_a_signal(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        for (verb, signal, code) in [(vec!["spin"], 15, 143), (vec!["sleep", "3600"], 9, 137), (vec!["spin"], 2, 130)] {
            let one = workload(isolation, "ends", &artifact, spec(&[&["probe"], &verb[..]].concat(), vec![], None));
            let guest = create(&runtimes, &one).await;
            guest.start().await.unwrap();
            assert_eq!(guest.signal(1).await.unwrap_err().kind(), Kind::Invalid);
            guest.signal(signal).await.unwrap();
            assert_eq!(guest.wait().await.code, Some(code));
            guest.delete().await.unwrap();
        }
        runtimes.stop().await.unwrap();
    });
}

fn input_is_carried_and_half_closed(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        let mut one = workload(isolation, "cats", &artifact, spec(&["probe", "cat"], vec![], None));
        one.stdin = true;
        let guest = create(&runtimes, &one).await;
        guest.start().await.unwrap();
        let mut stdin = guest.stdin().unwrap();
        let writing = tokio::spawn(async move {
            for _ in 0..100 {
                stdin.write(&[b'x'; 10_000]).await.unwrap();
            }
            stdin.close().await.unwrap();
        });
        assert_eq!(read(&guest).await.len(), 1_000_000);
        writing.await.unwrap();
        assert_eq!(guest.wait().await.code, Some(0));
        guest.delete().await.unwrap();
        runtimes.stop().await.unwrap();
    });
}

fn outlives_its_host(isolation: Isolation) {
    let node = Node::new();
    block_on(async {
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        let mut one = workload(isolation, "stays", &artifact, spec(&["probe", "cat"], vec![], None));
        one.stdin = true;
        let guest = create(&runtimes, &one).await;
        guest.start().await.unwrap();
        guest.stdin().unwrap().write(b"before ").await.unwrap();
        // Seen but not recorded: the next host must see it again.
        guest.output().unwrap().peek().await.unwrap();
    });
    block_on(async {
        let (runtimes, adopted) = node.open().await;
        let [found] = <[_; 1]>::try_from(adopted).unwrap();
        assert_eq!(found.sandbox.id(), "stays");
        assert!(matches!(found.state, State::Running));
        assert!(found.sandbox.pid().is_some());
        let mut stdin = found.sandbox.stdin().unwrap();
        stdin.write(b"after").await.unwrap();
        stdin.close().await.unwrap();
        assert_eq!(read(&found.sandbox).await, "before after");
        assert_eq!(found.sandbox.wait().await.code, Some(0));
        found.sandbox.delete().await.unwrap();
        runtimes.stop().await.unwrap();
        let left = std::fs::read_dir(node.root.path().join("run")).unwrap().flatten();
        let sockets = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("worker-"));
        assert_eq!(sockets.count(), 0, "a worker's socket is left");
    });
}

fn dead_worker_takes_its_guests_along(isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "probe", proa_samples::PROBE_COMPONENT).await;
        let one = workload(isolation, "dies", &artifact, spec(&["probe", "sleep", "3600"], vec![], None));
        let guest = create(&runtimes, &one).await;
        guest.start().await.unwrap();
        let pid = rustix::process::Pid::from_raw(guest.pid().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let exit = guest.wait().await;
        assert_eq!(exit.code, Some(137));
        assert!(exit.reason.unwrap().contains("worker"));
        guest.delete().await.unwrap();
        // The next guest gets a new worker.
        let again = workload(isolation, "lives", &artifact, spec(&["probe", "out", "x"], vec![], None));
        assert_eq!(finish(create(&runtimes, &again).await).await.0.code, Some(0));
        runtimes.stop().await.unwrap();
    });
}

fn wrong_modules_are_refused(_isolation: Isolation) {
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        for (name, bytes, part) in [
            ("text", &b"hello"[..], "not WebAssembly"),
            ("native", proa_samples::HELLO_LINUX, "not WebAssembly"),
            ("short", &proa_samples::HELLO_COMPONENT[..5000], "not valid WebAssembly"),
        ] {
            let module = node.file(name, bytes);
            let error = runtimes.compile(&format!("sha256:{name}"), &module).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{}", chain(&error));
            assert!(error.to_string().contains(part), "{}", chain(&error));
        }
        assert_eq!(std::fs::read_dir(node.root.path().join("cache")).unwrap().count(), 0);
        runtimes.stop().await.unwrap();
    });
}

fn answers_on_a_published_port(isolation: Isolation) {
    use std::io::{Read, Write};
    block_on(async {
        let node = Node::new();
        let (runtimes, _) = node.open().await;
        let artifact = node.compile(&runtimes, "http", proa_samples::HTTP_COMPONENT).await;
        let one = workload(isolation, "serves", &artifact, spec(&["http"], vec![], None));
        assert_eq!(runtimes.create(&one, Vec::new()).await.unwrap_err().kind(), Kind::Invalid);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let guest = runtimes.create(&one, vec![listener]).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        guest.start().await.unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let text = answer.await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        guest.delete().await.unwrap();
        runtimes.stop().await.unwrap();
    });
}
