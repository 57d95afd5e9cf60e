//! Layers that climb out of their folder, and others that mean harm: a canary tree beside the root stays as it was.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::canary::Canary;
use proa_tests::image::{Image, Recipe};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Kind, Tarball};
use proa_tests::{Isolation, Need, Node, Suite, cases, guest};

pub(crate) fn fill(suite: &mut Suite) {
    let linux: &'static [Need] = &[Need::Isolation(Isolation::Linux)];
    suite.add(linux, cases![layers_that_climb_out_touch_nothing_outside, whiteouts_remove_what_lies_below]);
    suite.add(linux, cases![a_layer_may_replace_folders_and_links, special_files_bring_no_power]);
    suite.add(&[], cases![a_layer_that_is_no_archive_is_refused, a_bomb_in_a_layer_s_size_field_is_refused]);
}

fn layers_that_climb_out_touch_nothing_outside() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let canary = Canary::beside(&node)?;
    let name = canary.path();
    // From ROOT/layers/sha256-.../ three steps up lie beside the root; more cost nothing.
    let up = "../".repeat(12);
    let climbing = format!("{up}{}", name.trim_start_matches('/'));
    let absolute = format!("{name}/made");
    let tar = Tarball::new;
    let evil: Vec<(&str, Tarball)> = vec![
        ("dots", tar().file(&format!("{climbing}/made"), 0o644, b"evil")),
        ("dots-inside", tar().folder("a/").file(&format!("a/../{climbing}/made"), 0o644, b"evil")),
        ("absolute", tar().file(&absolute, 0o644, b"evil")),
        ("symlink", tar().symlink("way", name).file("way/made", 0o644, b"evil")),
        ("symlink-dots", tar().symlink("way", &climbing).file("way/made", 0o644, b"evil")),
        ("symlink-folder", tar().symlink("way", name).folder("way/made/")),
        ("symlink-twice", tar().symlink("one", "two").symlink("two", name).file("one/made", 0o644, b"evil")),
        ("symlink-over", tar().symlink("file", &format!("{name}/file")).file("file", 0o644, b"evil")),
        ("hardlink", tar().entry("link", 0o644, &Kind::Hardlink(&format!("{name}/file"))).file("link", 0o644, b"evil")),
        ("hardlink-dots", tar().entry("link", 0o644, &Kind::Hardlink(&format!("{climbing}/file")))),
        ("hardlink-way", tar().symlink("way", name).entry("link", 0o644, &Kind::Hardlink("way/file"))),
        ("whiteout", tar().symlink("way", name).file("way/.wh.file", 0o644, b"")),
        ("whiteout-dots", tar().file(&format!("{climbing}/.wh.file"), 0o644, b"")),
        ("whiteout-name", tar().file(".wh...", 0o644, b"").file(".wh..", 0o644, b"")),
        ("opaque", tar().symlink("way", name).file("way/.wh..wh..opq", 0o644, b"")),
        ("chmod", tar().symlink("way", name).entry("way", 0o777, &Kind::Folder)),
    ];
    for (kind, layer) in evil {
        let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
        let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
        let reference = shelf.put(kind, &Image::native(&recipe, vec![layer]));
        let output = node.proa(&["run", "--rm", "--isolation", "linux", &reference, "out", "inside"])?;
        // Refused in a sentence, or taken as meant beneath the layer's own root; never outside.
        if output.code() == Some(0) {
            ensure!(output.text() == "inside", "{kind}: {output}");
        } else {
            output.refused(125, &[])?;
        }
        canary.sings().with_context(|| format!("`{kind}` reached outside"))?;
        let strangers: Vec<_> = fs::read_dir(node.root().join("layers"))?.flatten().map(|e| e.file_name()).collect();
        let odd = strangers.iter().any(|name| {
            let name = name.to_string_lossy();
            !name.strip_prefix("seal-").unwrap_or(&name).starts_with("sha256-")
        });
        ensure!(!odd, "`{kind}` left {strangers:?} among the layers");
    }
    node.close()
}

fn whiteouts_remove_what_lies_below() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let lower = Tarball::new()
        .file("probe", 0o755, proa_tests::samples::PROBE_LINUX)
        .folder("a/")
        .file("a/one", 0o644, b"1")
        .file("a/two", 0o644, b"2")
        .folder("b/")
        .file("b/old", 0o644, b"old");
    let upper =
        Tarball::new().file("a/.wh.one", 0o644, b"").file("b/.wh..wh..opq", 0o644, b"").file("b/new", 0o644, b"");
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("whiteouts", &Image::native(&recipe, vec![lower.finish(), upper.finish()]));
    for (folder, expected) in [("/a", "two"), ("/b", "new")] {
        let output =
            node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "list", folder])?.success()?;
        ensure!(output.text() == expected, "{folder}: {output}");
    }
    Ok(())
}

fn a_layer_may_replace_folders_and_links() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let lower = Tarball::new()
        .file("probe", 0o755, proa_tests::samples::PROBE_LINUX)
        .folder("was-folder/")
        .file("was-folder/x", 0o644, b"x")
        .symlink("was-link", "/etc")
        .file("twice", 0o644, b"first")
        .file("twice", 0o644, b"second")
        .entry("hard", 0o644, &Kind::Hardlink("twice"));
    let upper =
        Tarball::new().file("was-folder", 0o644, b"file now").folder("was-link/").file("was-link/y", 0o644, b"y");
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("replace", &Image::native(&recipe, vec![lower.finish(), upper.finish()]));
    for (path, expected) in
        [("/was-folder", "file now"), ("/was-link/y", "y"), ("/twice", "second"), ("/hard", "second")]
    {
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "read", path])?.success()?;
        ensure!(output.text() == expected, "{path}: {output}");
    }
    Ok(())
}

fn special_files_bring_no_power() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let layer = Tarball::new()
        .file("probe", 0o755, proa_tests::samples::PROBE_LINUX)
        .entry("disk", 0o666, &Kind::Device(254, 0))
        .entry("memory", 0o666, &Kind::Device(1, 1))
        .entry("pipe", 0o666, &Kind::Fifo);
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("special", &Image::native(&recipe, vec![layer.finish()]));
    for device in ["/disk", "/memory"] {
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "read", device])?;
        ensure!(output.code() != Some(0) && output.stdout.is_empty(), "`{device}` could be read");
    }
    Ok(())
}

fn a_layer_that_is_no_archive_is_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    for (name, layer) in [("noise", guest::blob(4096)), ("half", half_archive())] {
        let reference = shelf.put(name, &Image::native(&recipe, vec![layer]));
        node.proa(&["run", "--rm", "--isolation", "linux", &reference])?.refused(125, &[])?;
    }
    Ok(())
}

fn half_archive() -> Vec<u8> {
    let mut bytes = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A header that announces eight gigabytes and brings none.
fn a_bomb_in_a_layer_s_size_field_is_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let mut bytes = Tarball::new().file("probe", 0o755, b"").finish();
    bytes[124..135].copy_from_slice(b"77777777777");
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let reference = shelf.put("bomb", &Image::native(&recipe, vec![bytes]));
    node.proa(&["run", "--rm", "--isolation", "linux", &reference])?.refused(125, &[])?;
    Ok(())
}
