//! The configuration an image brings: who it runs as, where, with what; none of it may steer the host.

use anyhow::{Context, Result, ensure};
use proa_tests::canary::Canary;
use proa_tests::image::{self, Image};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Kind, Tarball};
use proa_tests::{Isolation, Need, Node, Output, Suite, cases};
use serde_json::{Map, Value, json};

use super::within_memory;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Isolation(Isolation::Linux)],
        cases![
            users_that_overflow_are_refused_and_never_root,
            a_huge_passwd_or_group_file_is_read_within_bounds,
            environments_without_a_value_are_refused,
            working_directories_lead_nowhere_outside,
            labels_of_an_image_steer_nothing,
            entrypoints_that_are_none_end_with_docker_s_codes,
            volumes_and_ports_that_make_no_sense_harm_nobody,
            signals_and_health_checks_that_make_no_sense_harm_nobody,
            fields_of_the_wrong_shape_are_refused,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Wasm)], cases![a_wasm_entrypoint_leads_out_of_no_image]);
}

/// The probe with a configuration, and more files.
fn image(config: Value, files: Tarball) -> Image {
    let layer = files.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let mut whole = json!({ "Entrypoint": ["/probe"] });
    let (Value::Object(all), Value::Object(own)) = (&mut whole, config) else { unreachable!("both are objects") };
    all.extend(own);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": whole,
        "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
    });
    let layers = vec![(image::LAYER.to_owned(), layer)];
    Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), layers)
}

fn run(node: &Node, reference: &str, args: &[&str]) -> Result<Output> {
    node.proa(&[&["run", "--rm", "-q", "--isolation", "linux", reference], args].concat())
}

/// CVE-2024-40635, CVE-2026-46680: a number that does not fit became root, or was looked up as a name.
fn users_that_overflow_are_refused_and_never_root() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let passwd = b"4294967296:x:0:0::/:\n2147483648:x:0:0::/:\nbig:x:4294967296:0::/:\nneg:x:-1:0::/:\n-1:x:0:0::/:\n";
    let bad = [
        "4294967296",
        "2147483648",
        "99999999999999999999",
        "4294967295",
        "0:4294967296",
        "1000:99999999999",
        "big",
        "neg",
        "nobody-here",
        "0:no-such-group",
        "+0",
        " 0",
        "0x0",
        "../../etc/passwd",
        "a\nb",
        "\u{0}",
    ];
    for (number, user) in bad.into_iter().enumerate() {
        let files = Tarball::new().file("etc/passwd", 0o644, passwd).file("etc/group", 0o644, b"g:x:4294967296:\n");
        let reference = shelf.put(&format!("user{number}"), &image(json!({ "User": user }), files));
        run(node, &reference, &["out", "x"])?.refused(125, &[]).with_context(|| format!("{user:?}"))?;
    }
    Ok(())
}

fn a_huge_passwd_or_group_file_is_read_within_bounds() -> Result<()> {
    let line = b"someone:x:1000:1000:::\n".repeat((64 << 20) / 23);
    let passwd = [line.as_slice(), b"late:x:7:7:::\n".as_slice()].concat();
    let group: Vec<u8> = (0..70_000).flat_map(|gid| format!("g{gid}:x:{gid}:early\n").into_bytes()).collect();
    within_memory(160 << 20, |node| {
        let shelf = Shelf::open()?;
        let files = Tarball::new().file("etc/passwd", 0o644, &passwd);
        let reference = shelf.put("passwd", &image(json!({ "User": "late" }), files));
        run(node, &reference, &["out", "x"])?.refused(125, &["late"])?;
        let files = Tarball::new().file("etc/passwd", 0o644, b"early:x:7:7:::\n").file("etc/group", 0o644, &group);
        let reference = shelf.put("group", &image(json!({ "User": "early" }), files));
        // The kernel takes 65,536 groups.
        super::refused_or_prints(run(node, &reference, &["out", "x"])?, "x")?;
        // What never ends is not read.
        let files = Tarball::new().entry("etc/passwd", 0o644, &Kind::Device(1, 5));
        let reference = shelf.put("device", &image(json!({ "User": "late" }), files));
        run(node, &reference, &["out", "x"])?.refused(125, &["late"])?;
        Ok(())
    })
}

/// CVE-2026-57231: an entry without `=` copied the engine's own variable.
fn environments_without_a_value_are_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    for (number, entry) in ["PATH", "HOME", "", "=x", "=", "A\u{0}=b"].into_iter().enumerate() {
        let reference = shelf.put(&format!("env{number}"), &image(json!({ "Env": [entry] }), Tarball::new()));
        run(node, &reference, &["env"])?.refused(125, &["environment"]).with_context(|| format!("{entry:?}"))?;
    }
    let odd = json!({ "Env": ["A=1\nB=2", "C==", "D=\u{1b}[0m"] });
    let output = run(node, &shelf.put("odd", &image(odd, Tarball::new())), &["env"])?.success()?;
    ensure!(output.text().contains("C=="), "{output}");
    // More than execve(2) takes.
    let long = json!({ "Env": [format!("A={}", "x".repeat(3 << 20))] });
    let output = run(node, &shelf.put("long", &image(long, Tarball::new())), &["out", "x"])?;
    ensure!(output.code().is_some_and(|code| (125..=127).contains(&code)), "{output}");
    output.keeps_its_composure()?;
    Ok(())
}

/// CVE-2024-21626 (a descriptor of the host's tree), CVE-2026-55686 (made and owned on the host through a link).
fn working_directories_lead_nowhere_outside() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let canary = Canary::beside(&node)?;
    let through = |rest: &str| format!("/out{rest}");
    let mut folders: Vec<String> = (3..14).map(|number| format!("/proc/self/fd/{number}")).collect();
    folders.extend(
        ["/proc/1/root", "/proc/self/cwd", "/proc/self/fd/7/../../..", "../../..", "relative/folder"]
            .map(str::to_owned),
    );
    folders.extend([through(""), through("/made"), through("/inner/made"), "/made/by/name".to_owned()]);
    folders.extend(["x/".repeat(2500), "/a\u{0}b".to_owned(), "/a\nb".to_owned()]);
    for (number, folder) in folders.iter().enumerate() {
        let files = Tarball::new().symlink("out", canary.path());
        let config = json!({ "WorkingDir": folder, "User": "1000:1000" });
        let reference = shelf.put(&format!("cwd{number}"), &image(config, files));
        let output = run(&node, &reference, &["read", "../../../../../../../../etc/hostname"])?;
        if output.code() == Some(125) {
            output.refused(125, &[]).with_context(|| folder.clone())?;
        } else {
            let own = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            ensure!(own.is_empty() || !output.text().contains(own.trim()), "`{folder}` leads to the node: {output}");
            output.keeps_its_composure().with_context(|| folder.clone())?;
        }
        canary.sings().with_context(|| folder.clone())?;
    }
    node.close()
}

/// CVE-2026-53488: an image's labels became the engine's own and named a program for it to run.
fn labels_of_an_image_steer_nothing() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let mut labels = Map::new();
    for (name, value) in [
        ("proa.isolation", "linux-userns"),
        ("proa.tenant", "somebody-else"),
        ("proa.restart-unhealthy", "true"),
        ("containerd.io/restart.status", "running"),
        ("containerd.io/restart.loguri", "binary:///bin/sh?-c=touch%20/tmp/owned"),
        ("io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel", "true"),
        ("org.opencontainers.image.ref.name", "docker.io/library/other:latest"),
        ("", "empty"),
        ("a\n\u{1b}[31m", "\u{7}"),
    ] {
        labels.insert(name.to_owned(), json!(value));
    }
    let reference = shelf.put("labels", &image(json!({ "Labels": labels }), Tarball::new()));
    let container = node.detached_image(&[], &reference, &["sleep", "600"])?;
    let seen = container.inspect()?;
    ensure!(seen["HostConfig"]["Isolation"] == "linux", "{}", seen["HostConfig"]);
    ensure!(seen["HostConfig"]["RestartPolicy"]["Name"] != "always", "{}", seen["HostConfig"]);
    let record = std::fs::read_to_string(node.root().join("containers").join(container.id()).join("container.json"))?;
    ensure!(record.contains(r#""tenant":"default""#), "the image chose its tenant: {record}");
    ensure!(node.get("/images/other/json")?.status == 404, "a label named an image");
    Ok(())
}

fn entrypoints_that_are_none_end_with_docker_s_codes() -> Result<()> {
    let node = Node::start()?;
    let (shelf, canary) = (Shelf::open()?, Canary::beside(&node)?);
    let files = || {
        Tarball::new()
            .folder("folder/")
            .file("text", 0o644, b"no program")
            .file("noise", 0o755, b"\x7fELF, or so it says")
            .file("empty", 0o755, b"")
            .file("lost", 0o755, b"#!/no/such/interpreter\n")
            // CVE-2019-5736: the engine's own program, run in the container by the container's script.
            .file("self", 0o755, b"#!/proc/self/exe\n")
            .symlink("circle", "circle")
    };
    let check = |name: &str, entrypoint: Value, codes: &[i32]| -> Result<()> {
        let config = json!({ "Entrypoint": entrypoint, "Cmd": null });
        let output = run(&node, &shelf.put(name, &image(config, files())), &[])?;
        ensure!(output.code().is_some_and(|code| codes.contains(&code)), "{name}: {output}");
        output.keeps_its_composure()?;
        canary.sings()
    };
    check("nothing", json!([]), &[125])?;
    check("empty-word", json!([""]), &[125, 126, 127])?;
    check("missing", json!(["/no/such/program"]), &[127])?;
    check("missing-name", json!(["no-such-program"]), &[127])?;
    check("folder", json!(["/folder"]), &[126])?;
    check("text", json!(["/text"]), &[126])?;
    check("noise", json!(["/noise"]), &[126])?;
    check("empty", json!(["/empty"]), &[126])?;
    check("lost", json!(["/lost"]), &[126, 127])?;
    check("circle", json!(["/circle"]), &[126, 127])?;
    check("long", json!([format!("/{}", "x".repeat(5000))]), &[125, 126, 127])?;
    check("nul", json!(["/probe\u{0}"]), &[125])?;
    // These run something or nothing; what must not happen is that the host's program is changed or left behind.
    let any: Vec<i32> = (1..=255).collect();
    check("self", json!(["/self"]), &any)?;
    check("own-exe", json!(["/proc/self/exe", "host"]), &any)?;
    check("init-exe", json!(["/proc/1/exe"]), &any)?;
    check("write-exe", json!(["/probe", "write", "/proc/self/exe", "evil"]), &any)?;
    node.close()
}

fn volumes_and_ports_that_make_no_sense_harm_nobody() -> Result<()> {
    let node = Node::start()?;
    let (shelf, canary) = (Shelf::open()?, Canary::beside(&node)?);
    let map = |names: &[&str]| Value::Object(names.iter().map(|name| ((*name).to_owned(), json!({}))).collect());
    let volumes =
        ["../../x", "/a/../../../x", "", "/", "relative", "/proc", "/sys", "/dev", "/etc/../..", "/a\u{0}b", "/a:b:c"];
    for (number, volume) in volumes.iter().enumerate() {
        let config = json!({ "Volumes": map(&[volume]) });
        let files = Tarball::new().symlink("out", canary.path());
        let output = run(&node, &shelf.put(&format!("volume{number}"), &image(config, files)), &["out", "x"])?;
        super::refused_or_prints(output, "x").with_context(|| format!("{volume:?}"))?;
        canary.sings()?;
    }
    let config = json!({ "Volumes": map(&["/out", "/out/inner"]) });
    let files = Tarball::new().symlink("out", canary.path());
    super::refused_or_prints(run(&node, &shelf.put("linked", &image(config, files)), &["out", "x"])?, "x")?;
    let many: Vec<String> = (0..5000).map(|at| format!("/v{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let reference = shelf.put("many", &image(json!({ "Volumes": map(&many) }), Tarball::new()));
    super::refused_or_prints(run(&node, &reference, &["out", "x"])?, "x")?;

    let ports = [
        "abc",
        "99999/tcp",
        "-1",
        "80/../x",
        "1-70000/tcp",
        "0/tcp",
        "/",
        "80/sctp/udp",
        "\u{1b}/tcp",
        "8000-7000/tcp",
    ];
    let reference = shelf.put("ports", &image(json!({ "ExposedPorts": map(&ports) }), Tarball::new()));
    let output = node.proa(&["create", "--isolation", "linux", "--name", "ports", &reference, "out", "x"])?;
    if output.code() != Some(0) {
        output.refused(1, &[])?;
    }
    for target in ["/containers/json?all=1", "/containers/ports/json", &format!("/images/{reference}/json")] {
        let answer = node.get(target)?;
        ensure!(answer.status == 200 || answer.status == 404, "`{target}`: {} {}", answer.status, answer.text());
    }
    node.proa(&["ps", "-a"])?.success()?.keeps_its_composure()?;
    canary.sings()?;
    node.close()
}

fn signals_and_health_checks_that_make_no_sense_harm_nobody() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    for (number, signal) in ["SIGNOPE", "99999", "-9", "0", "KILL KILL", "\u{0}"].into_iter().enumerate() {
        let reference = shelf.put(&format!("signal{number}"), &image(json!({ "StopSignal": signal }), Tarball::new()));
        let line = ["run", "-d", "--isolation", "linux", &reference, "sleep", "600"];
        let output = node.proa(&line)?;
        if output.code() != Some(0) {
            output.refused(125, &[]).with_context(|| format!("{signal:?}"))?;
            continue;
        }
        let id = output.text();
        node.proa(&["stop", "-t", "1", &id])?.keeps_its_composure()?;
        node.proa(&["rm", "-f", &id])?.success().with_context(|| format!("{signal:?}"))?;
    }
    let checks = [
        json!({ "Test": ["NONSENSE", "x"] }),
        json!({ "Test": [] }),
        json!({ "Test": ["CMD"] }),
        json!({ "Test": ["CMD", "/no/such/program"], "Interval": 1, "Timeout": 1, "Retries": -5 }),
        json!({ "Test": ["CMD-SHELL", "\u{0}"], "Interval": -9_000_000_000_000_000_000_i64 }),
        json!({ "Test": ["CMD", "/probe", "out", "x"], "Interval": i64::MAX, "StartPeriod": i64::MAX, "Timeout": i64::MAX, "Retries": i64::MAX }),
    ];
    for (number, check) in checks.into_iter().enumerate() {
        let reference = shelf.put(&format!("health{number}"), &image(json!({ "Healthcheck": check }), Tarball::new()));
        super::refused_or_prints(run(node, &reference, &["out", "x"])?, "x").with_context(|| check.to_string())?;
    }
    node.get("/_ping")?.success()?;
    Ok(())
}

fn fields_of_the_wrong_shape_are_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let wrong = [
        json!({ "Entrypoint": "/probe" }),
        json!({ "Env": { "A": "b" } }),
        json!({ "Env": [7] }),
        json!({ "Labels": ["a"] }),
        json!({ "User": 0 }),
        json!({ "WorkingDir": [] }),
    ];
    for (number, config) in wrong.into_iter().enumerate() {
        let reference = shelf.put(&format!("wrong{number}"), &image(config.clone(), Tarball::new()));
        // The last word may be that such a field means nothing; it must not mean something else.
        super::refused_or_prints(run(node, &reference, &["out", "x"])?, "x").with_context(|| config.to_string())?;
    }
    for (name, config) in
        [("list", "[]"), ("text", "\"x\""), ("number", "7"), ("null", "null"), ("config", r#"{"config":7}"#)]
    {
        let layers = vec![(image::LAYER.to_owned(), Tarball::new().finish())];
        let image = Image::assemble(image::MANIFEST, (image::CONFIG, config.as_bytes().to_vec()), layers);
        run(node, &shelf.put(name, &image), &[])?.refused(125, &[]).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn a_wasm_entrypoint_leads_out_of_no_image() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let canary = Canary::beside(&node)?;
    let outside = node.scratch().join("outside.wasm");
    std::fs::write(&outside, proa_tests::samples::HELLO_MODULE)?;
    let path = proa_tests::guest::path(&outside)?;
    for (number, entrypoint) in
        ["/link.wasm", "/way/outside.wasm", path, "/../../../x.wasm", "", "/folder", "/fifo", "/none.wasm"]
            .into_iter()
            .enumerate()
    {
        let layer = Tarball::new()
            .symlink("link.wasm", path)
            .symlink("way", proa_tests::guest::path(node.scratch())?)
            .folder("folder/")
            .entry("fifo", 0o644, &Kind::Fifo)
            .finish();
        let config = json!({
            "architecture": "wasm", "os": "wasi", "config": { "Entrypoint": [entrypoint] },
            "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
        });
        let layers = vec![(image::LAYER.to_owned(), layer)];
        let image = Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), layers);
        let reference = shelf.put(&format!("way{number}"), &image);
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "wasm", &reference])?;
        output.refused(125, &[]).with_context(|| entrypoint.to_owned())?;
        canary.sings()?;
    }
    node.close()
}
