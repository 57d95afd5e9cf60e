//! Real programs that nobody here wrote: busybox, a Debian root with python3 and redis-server, and WASI programs from the
//! crate registry.
#![forbid(unsafe_code)]

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::program::{self, Wasi};
use proa_tests::{Isolation, Need, Node, Output, Under, cases, command, guest, harness, wait};

const NATIVE: &[Isolation] = &[Isolation::Linux, Isolation::LinuxUserns];
const WASM: &[Isolation] = &[Isolation::Wasm, Isolation::WasmProcess];

static HEXYL: Wasi = Wasi { package: "hexyl", version: "0.17.0", program: "hexyl" };
static SD: Wasi = Wasi { package: "sd", version: "1.0.0", program: "sd" };
static NEEDS_HEXYL: [Need; 1] = [Need::Crate(&HEXYL)];
static NEEDS_SD: [Need; 1] = [Need::Crate(&SD)];

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.under(
            NATIVE,
            &[Need::Peer("busybox")],
            cases![busybox_s_shell_pipes_and_waits, busybox_serves_files_over_loopback],
        );
        suite.under(
            NATIVE,
            &[Need::Debian],
            cases![
                python_computes_and_uses_its_library,
                python_starts_processes_and_threads,
                redis_serves_and_persists,
                apt_and_dpkg_look_at_themselves
            ],
        );
        suite.under(WASM, &NEEDS_HEXYL, cases![hexyl_dumps_a_file_and_its_input]);
        suite.under(WASM, &NEEDS_SD, cases![sd_replaces_in_its_input_and_in_files]);
    })
}

fn busybox(under: &Under, script: &str) -> Result<Output> {
    let image = guest::busybox(under.node)?;
    under.node.proa(&["run", "--rm", "--isolation", under.isolation.name(), &image, "sh", "-c", script])
}

fn busybox_s_shell_pipes_and_waits(under: &Under) -> Result<()> {
    let output = busybox(under, "seq 1 1000 | grep 7 | wc -l; (sleep 0.1; echo late) & wait; echo done")?.success()?;
    ensure!(output.text() == "271\nlate\ndone", "{output}");
    let output = busybox(under, "mkdir -p /tmp/a/b; echo x > /tmp/a/b/c; find /tmp -type f; tar -cf - /tmp | wc -c")?;
    ensure!(output.clone().success()?.text().starts_with("/tmp/a/b/c\n"), "{output}");
    Ok(())
}

fn busybox_serves_files_over_loopback(under: &Under) -> Result<()> {
    let script = "mkdir /www; echo served > /www/index.html; httpd -p 127.0.0.1:8000 -h /www; \
                  wget -q -O - http://127.0.0.1:8000/";
    let output = busybox(under, script)?.success()?;
    ensure!(output.text() == "served", "{output}");
    Ok(())
}

/// The Debian image, loaded once a suite.
fn debian(node: &Node) -> Result<String> {
    static LOADED: std::sync::Mutex<Option<String>> = std::sync::Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(reference) = &*loaded {
        return Ok(reference.clone());
    }
    let layout = node.scratch().join("debian-layout");
    let env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
    let recipe = Recipe { command: &["bash"], env: &env, ..Recipe::default() };
    Image::native(&recipe, vec![fs::read(program::debian()?)?])
        .write_layout(&layout, "docker.io/library/debian:latest")?;
    let reference = node.load(&layout)?;
    fs::remove_dir_all(&layout)?;
    *loaded = Some(reference.clone());
    Ok(reference)
}

fn in_debian(under: &Under, args: &[&str]) -> Result<Output> {
    let image = debian(under.node)?;
    let line = [&["run", "--rm", "--isolation", under.isolation.name(), &image], args].concat();
    // The first run unpacks a quarter of a gigabyte.
    command::run(&mut under.node.command(&line), Duration::from_secs(240))
}

fn python_computes_and_uses_its_library(under: &Under) -> Result<()> {
    let script = "import json, hashlib, decimal, os, sys, sqlite3, tempfile\n\
                  print(json.dumps({'sum': sum(range(10**6)), 'digest': hashlib.sha256(b'x').hexdigest()[:8]}))\n\
                  db = sqlite3.connect(tempfile.mktemp()); db.execute('create table t (a)')\n\
                  db.executemany('insert into t values (?)', [(i,) for i in range(1000)]); db.commit()\n\
                  print(db.execute('select count(*) from t').fetchone()[0])\n\
                  sys.exit(5)";
    let output = in_debian(under, &["python3", "-c", script])?.exits(5)?;
    ensure!(output.text() == "{\"sum\": 499999500000, \"digest\": \"2d711642\"}\n1000", "{output}");
    Ok(())
}

fn python_starts_processes_and_threads(under: &Under) -> Result<()> {
    let script = "import subprocess, threading, multiprocessing, socket, os\n\
                  print(subprocess.run(['sh', '-c', 'exit 3']).returncode)\n\
                  seen = []; t = [threading.Thread(target=seen.append, args=(i,)) for i in range(20)]\n\
                  [x.start() for x in t]; [x.join() for x in t]; print(len(seen))\n\
                  with multiprocessing.Pool(3) as p: print(sum(p.map(abs, range(100))))\n\
                  s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('tcp')\n\
                  print(os.getpid())";
    let output = in_debian(under, &["python3", "-c", script])?.success()?;
    ensure!(output.text() == "3\n20\n4950\ntcp\n1", "{output}");
    Ok(())
}

fn redis_serves_and_persists(under: &Under) -> Result<()> {
    let image = debian(under.node)?;
    let flags = ["--isolation", under.isolation.name(), "-m", "256m"];
    let flags = if Need::Cgroups.lacking().is_none() { &flags[..] } else { &flags[..2] };
    let line = ["redis-server", "--dir", "/tmp", "--save", "", "--appendonly", "yes"];
    let redis = under.node.detached_image(flags, &image, &line)?;
    redis.shows("it is ready", |logs| logs.contains("Ready to accept connections"))?;
    let ask = |args: &[&str]| under.node.proa(&[&["exec", redis.id(), "redis-cli"], args].concat())?.success();
    ensure!(ask(&["ping"])?.text() == "PONG");
    ask(&["set", "boat", "proa"])?;
    ensure!(ask(&["get", "boat"])?.text() == "proa");
    let bench =
        under.node.proa(&["exec", redis.id(), "redis-benchmark", "-q", "-n", "2000", "-t", "set,get"])?.success()?;
    ensure!(bench.text().contains("GET"), "{bench}");
    redis.proa(&["stop"])?.success()?;
    let state = redis.inspect()?["State"].clone();
    ensure!(state["ExitCode"] == 0, "redis handles SIGTERM itself: {state}");
    Ok(())
}

/// Programs that change their user and look at many files.
fn apt_and_dpkg_look_at_themselves(under: &Under) -> Result<()> {
    let output =
        in_debian(under, &["sh", "-c", "dpkg -l | grep -c ^ii; apt-cache policy redis-server | head -1; id _apt -un"])?;
    let lines = output.clone().success()?.lines();
    ensure!(lines.len() == 3 && lines[0].parse::<u32>()? > 80 && lines[1] == "redis-server:", "{output}");
    let output = in_debian(under, &["sh", "-c", "setpriv --reuid=1 --regid=1 --clear-groups id -u"])?.success()?;
    ensure!(output.text() == "1", "{output}");
    Ok(())
}

fn hexyl_dumps_a_file_and_its_input(under: &Under) -> Result<()> {
    let module = program::wasi(&HEXYL)?;
    let folder = under.node.scratch().join(format!("hexyl-{}", under.isolation));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("data"), b"proa\x00\xff")?;
    let volume = format!("{}:/data:ro", guest::path(&folder)?);
    let base = ["run", "--rm", "-i", "--isolation", under.isolation.name(), "-v", &volume, guest::path(&module)?];
    let output = under.node.proa(&[&base[..], &["--color=never", "/data/data"]].concat())?.success()?;
    ensure!(output.text().contains("70 72 6f 61 00 ff"), "{output}");
    let output = under.node.feed(&[&base[..], &["--plain", "--color=never"]].concat(), b"abc")?.success()?;
    ensure!(output.text().contains("61 62 63"), "{output}");
    Ok(())
}

fn sd_replaces_in_its_input_and_in_files(under: &Under) -> Result<()> {
    let module = program::wasi(&SD)?;
    let base = ["run", "--rm", "-i", "--isolation", under.isolation.name(), guest::path(&module)?];
    let output = under.node.feed(&[&base[..], &[r"(\w+) (\w+)", "$2 $1"]].concat(), b"hulls two\n")?.success()?;
    ensure!(output.stdout == b"two hulls\n", "{output}");
    let help = under.node.proa(&[&base[..], &["--no-such-flag"]].concat())?;
    ensure!(help.code() == Some(2) && help.complaint().contains("--no-such-flag"), "{help}");
    wait::until("its containers are gone", || {
        Ok(!under.node.proa(&["ps", "-a"])?.success()?.text().contains("sd.wasm"))
    })
}
