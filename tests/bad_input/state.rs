//! The state under attack: a host killed at any moment, and one byte of the disk that is not what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Suite, cases, command};

pub(crate) fn fill(suite: &mut Suite) {
    let both: &'static [Need] = &[Need::Isolation(Isolation::Linux), Need::Isolation(Isolation::Wasm)];
    suite.add(both, cases![a_host_killed_at_any_moment_opens_again_and_has_nothing_half_made]);
    suite.add(
        &[Need::Isolation(Isolation::Linux), Need::Isolation(Isolation::Wasm), Need::Root],
        cases![one_flipped_byte_is_noticed_and_costs_no_more_than_what_it_hit],
    );
    suite.add(both, cases![what_a_disk_changed_is_named_and_put_right]);
}

/// Numbers that are the same at every run: xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn image() -> Image {
    let layer = Tarball::new().file("only", 0o644, fresh_name("state").as_bytes());
    let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    Image::native(&Recipe { entrypoint: &["/probe"], gzip: true, ..Recipe::default() }, vec![layer])
}

fn a_host_killed_at_any_moment_opens_again_and_has_nothing_half_made() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let probe = node.probe()?.to_owned();
    let mut dice = Dice(0x5eed);
    for round in 0..10 {
        let images: Vec<String> = (0..3).map(|at| shelf.put(&format!("r{round}-{at}"), &image())).collect();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            // Clients whose host goes away; what they say is their affair.
            let busy = |line: Vec<String>| {
                let (node, over) = (&node, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let line: Vec<&str> = line.iter().map(String::as_str).collect();
                        let _ = command::run(&mut node.command(&line), Duration::from_secs(20));
                    }
                });
            };
            let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            busy(words(&["run", "--rm", "--isolation", "linux", &probe, "out", "x"]));
            busy(words(&["run", "--rm", "--isolation", "wasm", &probe, "out", "x"]));
            busy(words(&["create", "--isolation", "linux", &probe, "out", "x"]));
            for image in &images {
                busy(words(&["pull", "-q", image]));
            }
            std::thread::sleep(Duration::from_millis(100 + dice.below(900)));
            let restarted = node.kill();
            over.store(true, Ordering::Relaxed);
            restarted
        })?;
        node.wake().with_context(|| format!("round {round}"))?;
        for id in node.proa(&["ps", "-aq", "--no-trunc"])?.success()?.lines() {
            let inspected = node.get(&format!("/containers/{id}/json"))?;
            ensure!(inspected.status == 200 || inspected.status == 404, "{}", inspected.text());
            let removed = node.proa(&["rm", "-f", &id])?;
            ensure!(removed.code() == Some(0) || removed.complaint().contains("No such container"), "{removed}");
        }
        for line in node.proa(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?.success()?.lines() {
            node.proa(&["run", "--rm", "-q", "--pull", "never", &line, "out", "x"])?
                .success()
                .context("a half image is listed")?;
        }
        let ingest = node.root().join("store/ingest");
        let half = fs::read_dir(&ingest).into_iter().flatten().flatten();
        let half: Vec<PathBuf> =
            half.map(|entry| entry.path()).filter(|path| !path.to_string_lossy().contains("partial-")).collect();
        ensure!(half.is_empty(), "left by a host before: {half:?}");
    }
    node.close()
}

/// What a host with a changed byte may do: all as before, or refuse in one sentence what the byte was part of. What it may
/// not do: fail to start, lose what was not hit, or print what nobody asked for.
fn one_flipped_byte_is_noticed_and_costs_no_more_than_what_it_hit() -> Result<()> {
    let node = Node::start()?;
    let probe = node.probe()?.to_owned();
    let containers = [("native", "linux"), ("module", "wasm"), ("second", "linux")];
    for (name, isolation) in containers {
        node.proa(&["create", "--name", name, "--isolation", isolation, &probe, "out", name])?.success()?;
    }
    node.proa(&["run", "--name", "spoke", "--isolation", "linux", &probe, "out", "spoken"])?.success()?;
    node.proa(&["system", "stop"])?.success()?;
    node.forget()?;
    let root = node.root().to_owned();
    let pristine = node.scratch().join("pristine");
    copy(&root, &pristine)?;
    let files = files(&root)?;
    let mut dice = Dice(0xf11b);
    for trial in 0..48 {
        // The small files that steer everything are hit as often as the large ones.
        let file = &files[usize::try_from(dice.below(files.len() as u64))?];
        let mut bytes = fs::read(file)?;
        let at = usize::try_from(dice.below(bytes.len() as u64))?;
        bytes[at] ^= 1 << dice.below(8);
        fs::write(file, &bytes)?;
        let hit = file.strip_prefix(&root)?.display().to_string();
        let judged = trial_of(&node, &probe, &containers, &hit);
        judged.with_context(|| format!("trial {trial}: byte {at} of `{hit}`"))?;
        node.proa(&["system", "stop"])?.success()?;
        node.forget()?;
        fs::remove_dir_all(&root)?;
        copy(&pristine, &root)?;
    }
    node.wake()?;
    node.close()
}

fn trial_of(node: &Node, probe: &str, containers: &[(&str, &str)], hit: &str) -> Result<()> {
    node.wake().context("the host does not start")?;
    let listed = node.proa(&["ps", "-a", "--format", "{{.Names}}"])?.success()?.lines();
    // A damaged record costs its own container.
    let lost = containers.len() + 1 - listed.len();
    ensure!(lost == usize::from(lost > 0 && hit.ends_with("container.json")), "only {listed:?} are left");
    for (name, _) in containers.iter().filter(|(name, _)| listed.iter().any(|found| found == name)) {
        said(node, &["start", "-a", name], name, hit)?;
    }
    for isolation in ["linux", "wasm"] {
        said(
            node,
            &["run", "--rm", "-q", "--pull", "never", "--isolation", isolation, probe, "out", "anew"],
            "anew",
            hit,
        )?;
    }
    node.get("/images/json")?;
    node.get("/info")?.success()?;
    Ok(())
}

/// The guest says what it was told to, or is refused in one sentence; the layers unpacked on disk are believed, so a guest
/// whose own program was hit may also fail by itself.
fn said(node: &Node, line: &[&str], word: &str, hit: &str) -> Result<()> {
    let output = node.proa(line)?;
    match output.code() {
        Some(0) if output.text() == word => Ok(()),
        Some(1 | 125..=127) => output.keeps_its_composure().map(drop),
        _ if hit.starts_with("layers/") => Ok(()),
        _ => bail!("expected `{word}` or a refusal: {output}"),
    }
}

/// `proa system check` in a host's life: each thing at rest is hit, named, and put right, by hand where only a registry can.
fn what_a_disk_changed_is_named_and_put_right() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let image = image();
    let reference = shelf.put("checked", &image);
    let probe = node.probe()?.to_owned();
    node.proa(&["pull", "-q", &reference])?.success()?;
    node.proa(&["run", "--rm", "--isolation", "wasm", &probe, "out", "x"])?.success()?;
    node.proa(&["volume", "create", "kept"])?.success()?;
    node.proa(&["create", "--name", "idle", "--isolation", "linux", &reference, "read", "/only"])?.success()?;
    let busy = node.detached_image(&["--isolation", "linux"], &reference, &["sleep", "600"])?;
    let said = node.proa(&["system", "check"])?.success()?;
    ensure!(said.lines().len() == 1 && said.text().ends_with("nothing is damaged"), "{said}");

    // A layer's file, which a running container shares.
    let only = found(&node.root().join("layers"), "only")?;
    let whole = fs::read(&only)?;
    flip(&only)?;
    let named = ["`only` is not what was unpacked", &reference];
    told(&node, &["system", "check"], 1, &named)?;
    told(&node, &["system", "check", "--repair"], 1, &[named[0], "uses it: stop it and check again"])?;
    busy.proa(&["rm", "-f"])?.success()?;
    told(&node, &["system", "check", "--repair"], 0, &[named[0], "it was unpacked anew", "1 put right, 0 damaged"])?;
    let read = node.proa(&["start", "-a", "idle"])?.success()?;
    ensure!(read.stdout == whole, "the container reads {read}");

    // What the host knows by heart or can make again.
    let idle = node.root().join("containers").join(node.proa(&["inspect", "-f", "{{.Id}}", "idle"])?.success()?.text());
    for (file, words) in [
        (idle.join("container.json"), "record of container `idle`"),
        (node.root().join("volumes/kept/volume.json"), "record of volume `kept`"),
        (node.root().join("store/index.json"), "index of images"),
        (node.root().join("store/index.twin"), "index of images"),
        (found(&node.root().join("cache"), "code.cwasm")?, "compiled code"),
        (found(&node.root().join("cache"), "facts.json")?, "compiled code"),
    ] {
        flip(&file)?;
        told(&node, &["system", "check"], 1, &[words, "--repair"])?;
        told(&node, &["system", "check", "--repair"], 0, &[words])?;
        told(&node, &["system", "check"], 0, &["nothing is damaged"])?;
    }
    node.proa(&["run", "--rm", "--isolation", "wasm", &probe, "out", "x"])?.success()?;

    // A blob comes from nowhere but the registry.
    for digest in image.blobs.keys() {
        flip(&node.root().join("store/blobs/sha256").join(digest.trim_start_matches("sha256:")))?;
        told(&node, &["system", "check", "--repair"], 1, &[digest, "pull", "again"])?;
        node.proa(&["pull", "-q", &reference])?.success()?;
        told(&node, &["system", "check"], 0, &["nothing is damaged"])?;
    }
    node.proa(&["rm", "idle"])?.success()?;
    node.close()
}

fn told(node: &Node, line: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let output = node.proa(line)?.exits(code)?.keeps_its_composure()?;
    ensure!(words.iter().all(|word| output.text().contains(word)), "expected {words:?}: {output}");
    Ok(())
}

/// Changes a byte as a disk does: neither the file's size nor its times tell of it.
fn flip(path: &Path) -> Result<()> {
    let times = fs::FileTimes::new().set_modified(fs::metadata(path)?.modified()?);
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mode = fs::metadata(path)?.permissions();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    fs::write(path, bytes)?;
    fs::File::options().write(true).open(path)?.set_times(times)?;
    Ok(fs::set_permissions(path, mode)?)
}

/// The one file called `name` below `folder`.
fn found(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut all = files(folder)?.into_iter().filter(|path| path.file_name().is_some_and(|found| found == name));
    let one = all.next().with_context(|| format!("no `{name}` below `{}`", folder.display()))?;
    ensure!(all.next().is_none(), "more than one `{name}` below `{}`", folder.display());
    Ok(one)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut line = Command::new("cp");
    line.arg("-a").arg(from).arg(to);
    command::run(&mut line, Duration::from_secs(60))?.success()?;
    Ok(())
}

/// Every file below the root that holds a byte, once for each file, in an order that is always the same.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let (path, kind) = {
                let entry = entry?;
                (entry.path(), entry.file_type()?)
            };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && fs::metadata(&path)?.len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
