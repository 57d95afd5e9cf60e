//! `linux.resources` as the kernel holds them: containers of `proa-linux`, looked at from outside. The same cases run
//! where cgroups are v1, v1 beside v2, and v2 alone (`pure_v2`). Needs privilege; where it lacks, every case is ignored
//! with the reason (and fails under PROA_TEST_REQUIRE=all).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use proa_linux::Facts;
use proa_linux::cgroup::{self, Claim, Layout, Oom, OomWatch};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proa-linux");

const PARENT: &str = "proa-linux-test-resources";

/// How long something may take that a slow machine does at once.
const PATIENCE: Duration = Duration::from_secs(30);

#[allow(dead_code, reason = "another suite has these cases among its own")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit_code()
}

type Case = fn(&Container) -> Result<(), Failed>;

pub(crate) fn trials() -> Vec<Trial> {
    let lacks = lacks();
    let cases: [(&str, Case); 15] = [
        ("every bound stands in its file", bounds_stand),
        ("what this version of cgroups lacks is refused by its field", refusals),
        ("processes are bounded", processes),
        ("processors are those of the list", processors),
        ("block devices are weighed where the kernel can, else refused by the field", weights),
        ("devices are those of the rules", devices),
        ("bounds change while it runs, in any order", changes),
        ("memory in use is not taken away", in_use),
        ("a frozen group stands still and takes no other container", frozen),
        ("memory kills are told as they happen", kills),
        ("everything the kernel counts is read", counted),
        ("groups below a container's are killed and removed with it", below),
        ("one more process goes where the first one is", beside),
        ("only what was made for it goes away", claimed),
        ("files of v2 are written by their own names", unified),
    ];
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let trials = cases.into_iter().map(|(name, case)| {
        let reason = lacks.clone();
        let ignored = reason.is_some() && !required;
        let kind = reason.clone().filter(|_| ignored).map_or(String::new(), |reason| format!("ignored, {reason}"));
        let trial = Trial::test(name, move || match reason {
            Some(reason) => Err(Failed::from(reason)),
            None => case(&Container::new()?),
        });
        trial.with_kind(kind).with_ignored_flag(ignored)
    });
    trials.collect()
}

fn lacks() -> Option<String> {
    if busybox().is_none() {
        return Some("there is no static busybox: apt install busybox-static".to_owned());
    }
    // Probing forks, which only a single-threaded process may: the harness has not started its threads yet.
    Facts::probe().lacks_user_namespace()
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// A bundle of busybox, and the container that is made of it.
struct Container {
    folder: tempfile::TempDir,
    id: String,
    layout: Layout,
}

impl Container {
    fn new() -> Result<Container, Failed> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy(busybox().ok_or("no busybox")?, root.join("bin/busybox"))?;
        for name in ["sh", "cat", "sleep", "echo", "head", "tail", "mknod", "true", "grep", "dd"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
        }
        let id = format!("r{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Ok(Container { folder, id, layout: Layout::here() })
    }

    fn group(&self) -> String {
        format!("{PARENT}/{}", self.id)
    }

    /// Writes config.json.
    fn configure(&self, resources: &Value, script: &str) -> Result<(), Failed> {
        let capabilities = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"];
        let config = json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs" },
            "process": {
                "cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
                "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            ],
            "linux": {
                "cgroupsPath": format!("/{}", self.group()),
                "resources": resources,
                "namespaces": [{ "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "network" }],
            },
        });
        Ok(fs::write(self.folder.path().join("config.json"), config.to_string())?)
    }

    fn verb(&self, words: &[&str]) -> Result<Output, Failed> {
        let mut line = Command::new(PROGRAM);
        Ok(line
            .arg("--root")
            .arg(self.folder.path().join("state"))
            .args(words)
            .stdin(std::process::Stdio::null())
            .output()?)
    }

    /// Runs to its end; its output, and its exit code.
    fn run(&self, resources: &Value, script: &str) -> Result<(String, Option<i32>), Failed> {
        self.configure(resources, script)?;
        let bundle = self.folder.path().to_string_lossy();
        let output = self.verb(&["run", "--bundle", &bundle, &self.id])?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok((text, output.status.code()))
    }

    /// Goes on beside us until it is killed.
    fn start(&self, resources: &Value) -> Result<(), Failed> {
        self.start_script(resources, "exec sleep 1000")
    }

    fn start_script(&self, resources: &Value, script: &str) -> Result<(), Failed> {
        self.configure(resources, script)?;
        let bundle = self.folder.path().to_string_lossy();
        // Its streams are files, since pipes would be held open by it.
        let log = fs::File::create(self.folder.path().join("log"))?;
        let mut line = Command::new(PROGRAM);
        line.arg("--root")
            .arg(self.folder.path().join("state"))
            .args(["run", "--detach", "--bundle", &bundle, &self.id]);
        let status = line.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log).status()?;
        expect("it starts", status.success(), self.log()?)
    }

    fn log(&self) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    fn delete(&self) -> Result<(), Failed> {
        let output = self.verb(&["delete", "--force", &self.id])?;
        expect("it is deleted", output.status.success(), output)
    }

    fn is_v2(&self, controller: &str) -> bool {
        self.layout.with(controller).is_some_and(|hierarchy| hierarchy.unified)
    }

    /// What a file of its group says, where that controller is here.
    fn value(&self, controller: &str, old: &str, new: &str) -> Option<String> {
        let hierarchy = self.layout.with(controller)?;
        let file = if hierarchy.unified { new } else { old };
        Some(fs::read_to_string(hierarchy.mount.join(self.group()).join(file)).ok()?.trim().to_owned())
    }

    fn update(&self, resources: &Value) -> Result<(), proa_linux::Error> {
        let resources = serde_json::from_value(resources.clone()).expect("resources are well formed");
        cgroup::update(&self.layout, &self.group(), &resources)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.verb(&["delete", "--force", &self.id]);
        cgroup::remove_parent(&self.layout, PARENT);
    }
}

fn expect(what: &str, holds: bool, seen: impl std::fmt::Debug) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}: {seen:?}").into()) }
}

fn until(what: &str, mut fact: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    while !fact()? {
        expect(what, Instant::now() < deadline, "not in time")?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A controller, its files in both versions, and what they must say.
type Held = (&'static str, (&'static str, &'static str), (&'static str, &'static str));

fn holds(container: &Container, all: &[Held]) -> Result<(), Failed> {
    for (controller, (old, old_value), (new, new_value)) in all {
        let Some(value) = container.value(controller, old, new) else { continue };
        let wanted = if container.is_v2(controller) { new_value } else { old_value };
        expect(&format!("{controller}: {old} or {new} is `{wanted}`"), value == **wanted, value)?;
    }
    Ok(())
}

fn bounds_stand(container: &Container) -> Result<(), Failed> {
    let resources = json!({
        "memory": { "limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 50_000, "burst": 10_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 33 },
    });
    container.start(&resources)?;
    holds(
        container,
        &[
            ("memory", ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
            ("memory", ("memory.memsw.limit_in_bytes", "134217728"), ("memory.swap.max", "67108864")),
            ("memory", ("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432")),
            ("cpu", ("cpu.shares", "512"), ("cpu.weight", "59")),
            ("cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000")),
            ("cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000")),
            ("cpu", ("cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000")),
            ("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
            ("cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
            ("pids", ("pids.max", "33"), ("pids.max", "33")),
        ],
    )?;
    let bounded = ["memory", "cpu", "pids"].iter().all(|name| container.layout.with(name).is_some());
    expect("the controllers that matter are here", bounded, &container.layout)?;
    container.delete()?;
    let left: Vec<PathBuf> = container.layout.directories(&container.group());
    expect("no group is left", left.iter().all(|path| !path.exists()), left)
}

fn refusals(container: &Container) -> Result<(), Failed> {
    let v1: [(Value, &str); 2] = [
        (json!({ "unified": { "memory.high": "1" } }), "linux.resources.unified"),
        (json!({ "memory": { "useHierarchy": false } }), "linux.resources.memory.useHierarchy"),
    ];
    let v2 = [
        (json!({ "memory": { "swappiness": 1 } }), "linux.resources.memory.swappiness"),
        (json!({ "cpu": { "realtimeRuntime": 1000 } }), "linux.resources.cpu.realtimeRuntime"),
        (json!({ "network": { "classID": 1 } }), "linux.resources.network.classID"),
        (json!({ "blockIO": { "leafWeight": 10 } }), "linux.resources.blockIO.leafWeight"),
    ];
    let cases = if container.is_v2("memory") { &v2[..] } else { &v1[..] };
    for (resources, field) in cases {
        let (said, code) = container.run(resources, "echo ran")?;
        expect(field, code == Some(1) && said.contains(field) && !said.contains("ran"), said)?;
    }
    let absent = json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 0 }] });
    let (said, _) = container.run(&absent, "echo ran")?;
    let told = said.contains("linux.resources.hugepageLimits") && !said.contains("ran");
    expect("a page size that no kernel has", told, said)
}

fn processes(container: &Container) -> Result<(), Failed> {
    let many = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; echo all";
    let (said, _) = container.run(&json!({ "pids": { "limit": 8 } }), many)?;
    expect("some cannot be forked", said.contains("fork") && !said.contains("all"), said)?;
    let (said, code) = container.run(&json!({ "pids": { "limit": -1 } }), many)?;
    expect("all are forked", code == Some(0) && said == "all\n", said)
}

fn processors(container: &Container) -> Result<(), Failed> {
    let (said, _) = container.run(&json!({ "cpu": { "cpus": "1" } }), "grep Cpus_allowed_list /proc/self/status")?;
    expect("the second alone", said == "Cpus_allowed_list:\t1\n", said)
}

fn weights(container: &Container) -> Result<(), Failed> {
    let (said, code) = container.run(&json!({ "blockIO": { "weight": 300 } }), "echo ran")?;
    if code == Some(1) {
        let field = "`linux.resources.blockIO.weight`: groups of this kernel have no `";
        // Of v2 the kernel does not tell beforehand.
        let offered = container.layout.offers().io_weight && !container.is_v2("io");
        return expect("the field", said.contains(field) && !offered, said);
    }
    expect("it runs", said == "ran\n", said)?;
    container.start(&json!({ "blockIO": { "weight": 300 } }))?;
    if container.is_v2("io") {
        let cost = || container.value("io", "", "io.weight").filter(|text| text.starts_with("default 2930"));
        let bfq = container.value("io", "", "io.bfq.weight").filter(|text| text.starts_with("default 300"));
        return expect("one of the weights", bfq.or_else(cost).is_some(), ());
    }
    let now = container.value("blkio", "blkio.bfq.weight", "").or_else(|| container.value("blkio", "blkio.weight", ""));
    expect("the weight", now.as_deref() == Some("300"), now)
}

fn devices(container: &Container) -> Result<(), Failed> {
    // 1:7 is everybody's; 1:11 is the kernel's log, which a rule must name. In /dev, where nodes are devices.
    let script = "cd /dev; mknod own c 1 7; mknod log c 1 11; mknod disk b 7 0; \
        head -c 1 own >/dev/null && echo own; (echo -n >log) 2>/dev/null && echo written; \
        (head -c 0 <log) 2>/dev/null && echo read; (head -c 0 <disk) 2>/dev/null || echo no disk";
    let (said, _) = container.run(&json!({}), script)?;
    expect("everybody's devices alone", said == "own\nno disk\n", said)?;
    let rules = json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" },
    ] });
    let (said, _) = container.run(&rules, script)?;
    expect("and one to write to", said == "own\nwritten\nno disk\n", said)?;
    let hole = json!({ "devices": [
        { "allow": true, "type": "c", "major": 1, "access": "rw" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw" },
    ] });
    let (said, code) = container.run(&hole, script)?;
    if container.layout.with("devices").is_some() {
        return expect("v1 has no holes", code == Some(1) && said.contains("linux.resources.devices"), said);
    }
    expect("the later rule decides", said == "own\nno disk\n", said)
}

fn changes(container: &Container) -> Result<(), Failed> {
    container.start(&json!({ "memory": { "limit": 64 << 20, "swap": 96 << 20 }, "cpu": { "quota": 50_000 } }))?;
    let steps: [(Value, &[Held]); 6] = [
        (
            json!({ "memory": { "limit": 128 << 20, "swap": 256 << 20 } }),
            &[
                ("memory", ("memory.limit_in_bytes", "134217728"), ("memory.max", "134217728")),
                ("memory", ("memory.memsw.limit_in_bytes", "268435456"), ("memory.swap.max", "134217728")),
            ],
        ),
        (
            json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }),
            &[
                ("memory", ("memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
                ("memory", ("memory.memsw.limit_in_bytes", "33554432"), ("memory.swap.max", "0")),
            ],
        ),
        (
            json!({ "memory": { "swap": 48 << 20 } }),
            &[
                ("memory", ("memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
                ("memory", ("memory.memsw.limit_in_bytes", "50331648"), ("memory.swap.max", "16777216")),
            ],
        ),
        (
            json!({ "cpu": { "period": 20_000 } }),
            &[
                ("cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 20000")),
                ("cpu", ("cpu.cfs_period_us", "20000"), ("cpu.max", "50000 20000")),
            ],
        ),
        // A burst above the old quota, below the new one.
        (
            json!({ "cpu": { "quota": 80_000, "burst": 60_000 } }),
            &[("cpu", ("cpu.cfs_burst_us", "60000"), ("cpu.max.burst", "60000"))],
        ),
        (json!({ "pids": { "limit": -1 } }), &[("pids", ("pids.max", "max"), ("pids.max", "max"))]),
    ];
    for (resources, held) in steps {
        container.update(&resources)?;
        holds(container, held)?;
    }
    if container.value("cpu", "cpu.idle", "cpu.idle").is_some() {
        for (resources, idle) in
            [(json!({ "cpu": { "idle": 1 } }), "1"), (json!({ "cpu": { "shares": 300, "idle": 0 } }), "0")]
        {
            container.update(&resources)?;
            let now = container.value("cpu", "cpu.idle", "cpu.idle");
            expect("idle", now.as_deref() == Some(idle), now)?;
        }
    }
    // A hierarchy of v1 in which it had no bound so far.
    container.update(&json!({ "cpu": { "cpus": "0" } }))?;
    holds(container, &[("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0"))])
}

fn in_use(container: &Container) -> Result<(), Failed> {
    // Holds 24 MiB in a shell's variable's stead: dd's buffer.
    container.start_script(
        &json!({ "memory": { "limit": 96 << 20 } }),
        "exec dd if=/dev/zero bs=24M count=1000000 of=/dev/null",
    )?;
    let usage = || cgroup::usage(&container.layout, &container.group()).memory;
    until("it uses its memory", || Ok(usage() > 24 << 20))?;
    let lower = json!({ "memory": { "limit": 4 << 20, "checkBeforeUpdate": true } });
    let refused = container.update(&lower).err().ok_or("a bound below what is in use was taken")?;
    let busy = std::error::Error::source(&refused).and_then(|source| source.downcast_ref::<std::io::Error>());
    expect("busy", busy.is_some_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy), &refused)?;
    holds(container, &[("memory", ("memory.limit_in_bytes", "100663296"), ("memory.max", "100663296"))])
}

fn frozen(container: &Container) -> Result<(), Failed> {
    container.start_script(&json!({}), "i=0; while :; do i=$((i+1)); echo $i; done")?;
    until("it counts", || Ok(container.log()?.len() > 100))?;
    cgroup::freeze(&container.layout, &container.group())?;
    expect("it is frozen", cgroup::is_frozen(&container.layout, &container.group()), ())?;
    let before = container.log()?.len();
    std::thread::sleep(Duration::from_millis(50));
    expect("it stands still", container.log()?.len() == before, before)?;
    let taken = Claim::new(&container.layout, &container.group()).map_err(|error| error.to_string());
    let sentence = "container's cgroup is not empty: 1 process(es) found";
    expect("its group is taken", taken == Err(sentence.to_owned()), taken)?;
    cgroup::thaw(&container.layout, &container.group())?;
    until("it goes on", || Ok(container.log()?.len() > before))?;
    cgroup::freeze(&container.layout, &container.group())?;
    container.delete()
}

fn kills(container: &Container) -> Result<(), Failed> {
    let limit = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    container.start_script(&limit, "while [ ! -e /go ]; do :; done; tail /dev/zero; sleep 1000")?;
    let mut watch = OomWatch::new(&container.layout, &container.group())?;
    fs::write(container.folder.path().join("rootfs/go"), "")?;
    until("a kill is told", || Ok(watch.read()? == Oom::Happened))?;
    until("and counted", || Ok(cgroup::stats(&container.layout, &container.group()).oom_kills >= 1))?;
    container.delete()?;
    until("the end is told", || Ok(watch.read()? == Oom::Gone))
}

fn counted(container: &Container) -> Result<(), Failed> {
    container.start_script(&json!({ "cpu": { "quota": 10_000 } }), "while :; do :; done")?;
    let stats = || cgroup::stats(&container.layout, &container.group());
    until("its time is counted", || Ok(stats().usage.cpu > Duration::from_millis(20)))?;
    until("its quota holds it", || Ok(stats().usage.throttling.throttled > 0))?;
    let seen = stats();
    expect("memory", seen.usage.memory > 0 && seen.swap.usage >= seen.usage.memory / 2, &seen)?;
    expect("memory by its names", seen.usage.memory_details.len() > 10, &seen)?;
    expect("one process", seen.usage.pids == 1, &seen)?;
    if container.is_v2("memory") {
        let pressed = seen.cpu_pressure.is_some() && seen.memory_pressure.is_some() && seen.io_pressure.is_some();
        // A kernel may be started without (psi=0).
        return expect("pressure", pressed || !Path::new("/proc/pressure").exists(), &seen);
    }
    expect("kernel memory", seen.kernel.usage > 0, &seen)?;
    expect("each processor", !seen.cpu_each_user.is_empty() && !seen.cpu_each_system.is_empty(), &seen)
}

fn below(container: &Container) -> Result<(), Failed> {
    container.start_script(&json!({}), "sleep 1000 & exec sleep 1000")?;
    let (layout, group) = (&container.layout, container.group());
    until("both run", || Ok(cgroup::processes(layout, &group).len() == 2))?;
    let inner = cgroup::processes(layout, &group).pop().ok_or("no process")?;
    for directory in layout.directories(&group).into_iter().filter(|directory| directory.exists()) {
        fs::create_dir(directory.join("inner"))?;
        fs::write(directory.join("inner/cgroup.procs"), inner.to_string())?;
    }
    let listed = cgroup::processes(layout, &group);
    expect("those below are its own", listed.len() == 2 && listed.contains(&inner), listed)?;
    cgroup::signal_all(layout, &group, 9);
    until("all end", || Ok(cgroup::processes(layout, &group).is_empty()))?;
    container.delete()?;
    let left = layout.directories(&group);
    expect("nothing is left", left.iter().all(|path| !path.exists()), left)
}

/// As systemd in a container has it.
fn beside(container: &Container) -> Result<(), Failed> {
    container.start(&json!({}))?;
    let pid = cgroup::processes(&container.layout, &container.group()).pop().ok_or("no process")?;
    if let Some(hierarchy) = container.layout.with("pids").filter(|hierarchy| hierarchy.unified) {
        let directory = hierarchy.mount.join(container.group());
        fs::create_dir(directory.join("inner"))?;
        fs::write(directory.join("inner/cgroup.procs"), pid.to_string())?;
        fs::write(directory.join("cgroup.subtree_control"), "+pids")?;
    }
    let output = container.verb(&["exec", &container.id, "cat", "/proc/self/cgroup"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let beside = if container.is_v2("pids") { format!("0::/{}/inner\n", container.group()) } else { container.group() };
    expect("its group", output.status.success() && said.contains(&beside), output)
}

fn claimed(container: &Container) -> Result<(), Failed> {
    let (layout, outer) = (&container.layout, container.group());
    let group = format!("{outer}/a/b");
    let claim = Claim::new(layout, &group)?;
    let directories = layout.directories(&group);
    for directory in directories.iter().filter(|one| one.starts_with(&layout.with("pids").expect("pids").mount)) {
        fs::create_dir_all(directory)?;
        fs::create_dir_all(directory.join("below"))?;
    }
    claim.release(layout, &group)?;
    let left = layout.directories(&outer);
    expect("nothing is left", left.iter().all(|path| !path.exists()), left)
}

fn unified(container: &Container) -> Result<(), Failed> {
    if !container.is_v2("memory") {
        // What v1 says to that is among the refusals.
        return Ok(());
    }
    container.start(&json!({ "unified": { "memory.high": "50331648", "cgroup.max.descendants": "7" } }))?;
    holds(
        container,
        &[("memory", ("", ""), ("memory.high", "50331648")), ("memory", ("", ""), ("cgroup.max.descendants", "7"))],
    )?;
    let refused = container.update(&json!({ "unified": { "memory.no_such_file": "1" } })).map_err(|e| e.to_string());
    let sentence = "`linux.resources.unified`: groups of this kernel have no `memory.no_such_file`";
    expect("a file that is not there", refused == Err(sentence.to_owned()), refused)
}
