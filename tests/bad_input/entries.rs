//! Single entries of a layer that mean harm or say two things at once. Beside the root stands a canary.

use anyhow::{Context, Result, ensure};
use proa_tests::canary::Canary;
use proa_tests::image::{Image, Recipe};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Header, Kind, Tarball};
use proa_tests::{Isolation, Need, Node, Suite, cases};

use super::{layered, refused_or_prints};

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Isolation(Isolation::Linux)],
        cases![
            links_in_chains_and_circles_lead_nowhere,
            headers_that_disagree_are_refused,
            odd_names_are_kept_or_refused,
            attributes_of_the_overlay_do_not_come_in,
            whiteouts_of_odd_shapes_hide_nothing_else,
            one_path_three_times_is_what_came_last,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Linux), Need::Root], cases![a_setuid_program_of_an_image_gives_no_power]);
}

/// Runs the image of each layer; the word is in the refusal, or, where it is empty, the layer may also be taken.
fn check(layers: Vec<(&str, Tarball, &str)>) -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let canary = Canary::beside(&node)?;
    for (name, layer, word) in layers {
        let reference = shelf.put(name, &layered(layer.finish()));
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", "inside"])?;
        let judged = match word {
            "" => refused_or_prints(output, "inside"),
            word => output.refused(125, &[word]).map(drop),
        };
        judged.and_then(|()| canary.sings()).with_context(|| format!("layer `{name}`"))?;
    }
    node.close()
}

fn links_in_chains_and_circles_lead_nowhere() -> Result<()> {
    let tar = Tarball::new;
    // The kernel follows 40 links and no more.
    let chain = (0..60).fold(tar().folder("end/"), |tar, at| {
        tar.symlink(&format!("l{at}"), &if at == 59 { "end".to_owned() } else { format!("l{}", at + 1) })
    });
    let up = "../".repeat(30);
    check(vec![
        ("circle", tar().symlink("a", "b").symlink("b", "a").file("a/x", 0o644, b"x"), "beneath the root"),
        ("itself", tar().symlink("a", "a").file("a/x", 0o644, b"x"), "beneath the root"),
        ("chain", chain.file("l0/x", 0o644, b"x"), "beneath the root"),
        ("hop", tar().folder("d/").symlink("d/up", "../..").file("d/up/x", 0o644, b"x"), "beneath the root"),
        ("hop-by-hop", tar().symlink("a", "..").symlink("b", "a/..").file("b/x", 0o644, b"x"), "beneath the root"),
        ("proc", tar().symlink("p", "/proc/self/root/tmp").file("p/x", 0o644, b"x"), "beneath the root"),
        ("link-of-link", tar().symlink("l", &up).entry("h", 0o644, &Kind::Hardlink("l")).file("h/x", 0o644, b"x"), ""),
        (
            "link-over",
            tar().symlink("l", "/etc/hostname").entry("h", 0o644, &Kind::Hardlink("l")).file("h", 0o644, b"x"),
            "",
        ),
        ("link-to-folder", tar().folder("d/").entry("h", 0o755, &Kind::Hardlink("d")), "folder"),
        ("link-to-nothing", tar().entry("h", 0o755, &Kind::Hardlink("")), ""),
        (
            "link-to-later",
            tar().entry("h", 0o644, &Kind::Hardlink("later")).file("later", 0o644, b"x"),
            "does not hold",
        ),
        ("empty-target", tar().entry("s", 0o777, &Kind::Symlink("")), "without a target"),
        // A folder entry over a link changes the mode of neither the link's target nor anything else (RUSTSEC-2026-0113).
        ("chmod", tar().symlink("l", "/tmp").entry("l", 0o777, &Kind::Folder), ""),
        ("chmod-file", tar().symlink("l", "/etc/hostname").file("l", 0o4777, b""), ""),
        ("root-file", tar().file("./", 0o777, b""), ""),
        ("root-link", tar().symlink("./", "/tmp"), "root"),
    ])
}

/// CVE-2025-62518, RUSTSEC-2026-0112: whoever believes the other size reads another archive.
fn headers_that_disagree_are_refused() -> Result<()> {
    let tar = Tarball::new;
    let hidden = tar().file("hidden", 0o644, b"").so_far();
    let sized = |size: u64| Header { name: b"a", size, ..Header::default() };
    let large = vec![b'n'; 3 << 20];
    check(vec![
        ("pax-more", tar().pax(&[("size", b"1024")]).file("a", 0o644, b""), "in one header and"),
        ("pax-less", tar().pax(&[("size", b"0")]).file("a", 0o644, &hidden), "in one header and"),
        ("pax-twice", tar().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("c", 0o644, b""), "two PAX headers"),
        ("pax-negative", tar().pax(&[("size", b"-1")]).file("a", 0o644, b""), "number"),
        ("pax-huge", tar().pax(&[("size", b"99999999999999999999")]).file("a", 0o644, b""), "number"),
        ("pax-length", tar().extended(b'x', b"9999 path=a\n").file("a", 0o644, b""), "malformed"),
        ("pax-no-length", tar().extended(b'x', b"path=a\n").file("a", 0o644, b""), "malformed"),
        ("pax-global", tar().extended(b'g', b"10 path=a\n").file("a", 0o644, b""), "every entry"),
        ("pax-alone", tar().pax(&[("path", b"a")]), "ends after"),
        ("pax-sparse", tar().pax(&[("GNU.sparse.size", b"9")]).file("a", 0o644, b""), "sparse"),
        ("pax-long", tar().extended(b'x', &large).file("a", 0o644, b""), "longer than the limit"),
        ("gnu-long", tar().extended(b'L', &large).file("a", 0o644, b""), "longer than the limit"),
        ("gnu-long-link", tar().extended(b'K', &large).file("a", 0o644, b""), "longer than the limit"),
        ("gnu-twice", tar().extended(b'L', b"a\0").extended(b'L', b"b\0").file("c", 0o644, b""), "two long names"),
        ("size-lie", tar().header(&sized(8 << 30), b"x"), ""),
        ("folder-content", tar().header(&Header { flag: b'5', ..sized(512) }, &hidden), "not a file"),
        ("link-content", tar().header(&Header { flag: b'2', link: b"x", ..sized(512) }, &hidden), "not a file"),
        ("owner", tar().pax(&[("uid", b"4294967296")]).file("a", 0o644, b""), "32 bits"),
        ("unknown", tar().header(&Header { flag: b'Z', ..sized(0) }, b""), "unknown type"),
    ])
}

fn odd_names_are_kept_or_refused() -> Result<()> {
    let tar = Tarball::new;
    let deep = "d/".repeat(1500);
    let wide = "n".repeat(300);
    let long = "n".repeat(1 << 19);
    check(vec![
        ("newline", tar().file("a\nb", 0o644, b"x"), ""),
        ("escape", tar().file("\u{1b}[2J\u{7}", 0o644, b"x"), ""),
        ("not-utf8", tar().header(&Header { name: b"\xff\xfe", ..Header::default() }, b""), ""),
        ("nul", tar().pax(&[("path", b"a\0b")]).file("a", 0o644, b""), "NUL"),
        ("nul-link", tar().pax(&[("linkpath", b"a\0b")]).symlink("a", "x"), "NUL"),
        ("deep", tar().pax(&[("path", deep.as_bytes())]).file("a", 0o644, b""), "folders deep"),
        ("wide", tar().pax(&[("path", wide.as_bytes())]).file("a", 0o644, b""), "name longer"),
        ("long", tar().pax(&[("path", long.as_bytes())]).file("a", 0o644, b""), "path longer"),
        ("long-link", tar().pax(&[("linkpath", long.as_bytes())]).symlink("a", "x"), "too long"),
        ("nameless", tar().file("", 0o644, b"x"), ""),
        ("dots", tar().pax(&[("path", b"a/../../b")]).file("a", 0o644, b""), "`..`"),
        // A refusal may show a name, but not send it to the terminal as it is.
        ("shown", tar().file("../\u{1b}[31mred", 0o644, b"x"), "`..`"),
    ])
}

/// A folder that says it is opaque, or lies elsewhere, in the overlay's own language would hide or show what it likes.
fn attributes_of_the_overlay_do_not_come_in() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let lower =
        Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).folder("d/").file("d/low", 0o644, b"");
    let upper = Tarball::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.security.selinux", b"x"),
        ])
        .folder("d/")
        .file("d/high", 0o644, b"");
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("attributes", &Image::native(&recipe, vec![lower.finish(), upper.finish()]));
    let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "list", "/d"])?.success()?;
    ensure!(output.lines() == ["high", "low"], "{output}");
    Ok(())
}

fn whiteouts_of_odd_shapes_hide_nothing_else() -> Result<()> {
    let tar = Tarball::new;
    check(vec![
        ("of-nothing", tar().file(".wh.", 0o644, b""), "whiteout of nothing"),
        ("of-dot", tar().file(".wh..", 0o644, b""), "whiteout of nothing"),
        ("of-dots", tar().file(".wh...", 0o644, b""), "whiteout of nothing"),
        ("as-folder", tar().folder(".wh.x/"), ""),
        ("as-link", tar().symlink(".wh.x", "/etc"), ""),
        ("as-device", tar().entry(".wh.x", 0o644, &Kind::Device(1, 3)), ""),
        ("with-content", tar().file(".wh.x", 0o644, b"content"), ""),
        ("opaque-folder", tar().folder(".wh..wh..opq/"), ""),
        ("beneath", tar().file(".wh.d/x", 0o644, b""), ""),
        ("of-a-way", tar().symlink("w", "/etc").file("w/.wh.passwd", 0o644, b""), "beneath the root"),
    ])
}

fn one_path_three_times_is_what_came_last() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let layer = Tarball::new()
        .file("probe", 0o755, proa_tests::samples::PROBE_LINUX)
        .file("x", 0o644, b"first")
        .folder("x/")
        .file("x/inner", 0o644, b"inner")
        .symlink("x", "/etc/passwd")
        .file("x", 0o644, b"last")
        .file("y", 0o644, b"file")
        .folder("y/")
        .file("y/inner", 0o644, b"inner");
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("thrice", &Image::native(&recipe, vec![layer.finish()]));
    for (path, expected) in [("/x", "last"), ("/y/inner", "inner")] {
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "read", path])?.success()?;
        ensure!(output.text() == expected, "{path}: {output}");
    }
    Ok(())
}

fn a_setuid_program_of_an_image_gives_no_power() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let layer = Tarball::new().file("probe", 0o6755, proa_tests::samples::PROBE_LINUX).finish();
    let recipe = Recipe { entrypoint: &["/probe"], user: "1000:1000", ..Recipe::default() };
    let reference = shelf.put("setuid", &Image::native(&recipe, vec![layer]));
    let line = ["run", "--rm", "-q", "--isolation", "linux", &reference, "read", "/proc/self/status"];
    let status = node.proa(&line)?.success()?.text();
    for field in ["Uid:\t1000\t1000\t1000\t1000", "Gid:\t1000\t1000\t1000\t1000", "CapEff:\t0000000000000000"] {
        ensure!(status.contains(field), "`{field}` is not in {status}");
    }
    Ok(())
}
