//! Files from outside: what was mounted is there, nothing else is, and nothing leads out of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use proa_tests::{Isolation, Suite, Under, cases, guest, leftovers};

use super::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            a_mounted_directory_is_read_and_written,
            a_read_only_mount_is_not_written,
            wasmtime_s_dir_flag_mounts_too,
            what_a_guest_writes_stays_for_the_next,
            nothing_leads_out_of_a_mounted_directory,
            a_single_file_can_be_mounted,
            no_mount_of_ours_appears_in_the_caller_s_namespace,
        ],
    );
    suite.under(WASM, &[], cases![a_guest_without_mounts_sees_no_files]);
    suite.under(
        NATIVE,
        &[],
        cases![
            a_read_only_root_is_not_written,
            what_is_written_to_the_root_is_this_container_s_own,
            what_a_native_guest_writes_has_the_right_owner,
        ],
    );
}

/// A folder that any user may write, so that a guest who is nobody outside can.
fn folder(under: &Under, name: &str) -> Result<PathBuf> {
    let folder = under.node.scratch().join(format!("{name}-{}", under.isolation));
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
    // The way to it must be passable for a guest who is nobody outside.
    fs::set_permissions(under.node.scratch(), Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn a_mounted_directory_is_read_and_written(under: &Under) -> Result<()> {
    let data = folder(under, "rw")?;
    fs::write(data.join("given"), "from outside")?;
    let volume = format!("{}:/data", guest::path(&data)?);
    let read = under.node.run(under.isolation, &["-v", &volume], &["read", "/data/given"])?.success()?;
    ensure!(read.stdout == b"from outside", "{read}");
    under.node.run(under.isolation, &["-v", &volume], &["write", "/data/made", "from inside"])?.success()?;
    ensure!(fs::read_to_string(data.join("made"))? == "from inside");
    let listed = under.node.run(under.isolation, &["-v", &volume], &["list", "/data"])?.success()?;
    ensure!(listed.lines() == ["given", "made"], "{listed}");
    under.node.run(under.isolation, &["-v", &volume], &["remove", "/data/made"])?.success()?;
    ensure!(!data.join("made").exists());
    Ok(())
}

/// GHSA-2r75-cxrj-cmph is this class for Wasm.
fn a_read_only_mount_is_not_written(under: &Under) -> Result<()> {
    let data = folder(under, "ro")?;
    fs::write(data.join("given"), "untouched")?;
    fs::set_permissions(data.join("given"), Permissions::from_mode(0o666))?;
    let volume = format!("{}:/data:ro", guest::path(&data)?);
    let tries: [&[&str]; 4] = [
        &["write", "/data/given", "changed"],
        &["write", "/data/fresh", "x"],
        &["append", "/data/given", "x"],
        &["remove", "/data/given"],
    ];
    for attempt in tries {
        under.node.run(under.isolation, &["-v", &volume], attempt)?.exits(1)?;
    }
    ensure!(fs::read_to_string(data.join("given"))? == "untouched" && fs::read_dir(&data)?.count() == 1);
    under.node.run(under.isolation, &["-v", &volume], &["read", "/data/given"])?.success()?;
    Ok(())
}

fn wasmtime_s_dir_flag_mounts_too(under: &Under) -> Result<()> {
    let data = folder(under, "dir")?;
    fs::write(data.join("given"), "by --dir")?;
    let both = format!("{}::/somewhere", guest::path(&data)?);
    let read = under.node.run(under.isolation, &["--dir", &both], &["read", "/somewhere/given"])?.success()?;
    ensure!(read.stdout == b"by --dir", "{read}");
    let same = guest::path(&data)?;
    let read = under.node.run(under.isolation, &["--dir", same], &["read", &format!("{same}/given")])?.success()?;
    ensure!(read.stdout == b"by --dir", "{read}");
    Ok(())
}

fn what_a_guest_writes_stays_for_the_next(under: &Under) -> Result<()> {
    let data = folder(under, "stays")?;
    let volume = format!("{}:/data", guest::path(&data)?);
    for word in ["one ", "two ", "three"] {
        under.node.run(under.isolation, &["-v", &volume], &["append", "/data/log", word])?.success()?;
    }
    let read = under.node.run(under.isolation, &["-v", &volume], &["read", "/data/log"])?.success()?;
    ensure!(read.text() == "one two three", "{read}");
    Ok(())
}

/// A canary outside, and every road to it that a path can describe.
fn nothing_leads_out_of_a_mounted_directory(under: &Under) -> Result<()> {
    let data = folder(under, "fence")?;
    let canary = under.node.scratch().join(format!("canary-{}", under.isolation));
    fs::write(&canary, "secret")?;
    let name = guest::path(&canary)?.to_owned();
    let file = canary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (link, target) in
        [("absolute", name.clone()), ("relative", format!("../{file}")), ("proc", format!("/proc/self/root{name}"))]
    {
        let _ = fs::remove_file(data.join(link));
        symlink(target, data.join(link))?;
    }
    let volume = format!("{}:/data", guest::path(&data)?);
    let roads = [
        name.clone(),
        format!("/data/../{file}"),
        format!("/data/../../../../../../../../..{name}"),
        "/data/absolute".to_owned(),
        "/data/relative".to_owned(),
        "/data/proc".to_owned(),
        "/data/relative/".to_owned(),
        format!("/data//../{file}/"),
    ];
    for road in &roads {
        let read = under.node.run(under.isolation, &["-v", &volume], &["read", road])?;
        ensure!(read.code() != Some(0) && !read.text().contains("secret"), "`{road}` leads out: {read}");
        let written = under.node.run(under.isolation, &["-v", &volume], &["append", road, "x"])?;
        ensure!(fs::read_to_string(&canary)? == "secret", "`{road}` leads out for writing: {written}");
    }
    Ok(())
}

fn a_single_file_can_be_mounted(under: &Under) -> Result<()> {
    let data = folder(under, "single")?;
    fs::write(data.join("only"), "just this")?;
    fs::write(data.join("not-this"), "secret")?;
    let volume = format!("{}/only:/etc/only:ro", guest::path(&data)?);
    let read = under.node.run(under.isolation, &["-v", &volume], &["read", "/etc/only"])?;
    if under.isolation.is_wasm() && read.code() == Some(125) {
        // WASI grants directories; a sentence that says so is right too.
        return read.refused(125, &["director"]).map(drop);
    }
    ensure!(read.clone().success()?.stdout == b"just this", "{read}");
    let other = under.node.run(under.isolation, &["-v", &volume], &["read", "/etc/not-this"])?;
    ensure!(other.code() != Some(0), "the file's neighbour came along: {other}");
    Ok(())
}

fn no_mount_of_ours_appears_in_the_caller_s_namespace(under: &Under) -> Result<()> {
    let data = folder(under, "mounts")?;
    let volume = format!("{}:/data", guest::path(&data)?);
    let guest = under.node.detached(under.isolation, &["-v", &volume], &["tick", "0.1"])?;
    guest.shows("a tick", |logs| logs.contains("tick 1"))?;
    let mounts = leftovers::mounts(under.node.root())?;
    ensure!(mounts.is_empty(), "{mounts:?}");
    let mounts = leftovers::mounts(&data)?;
    ensure!(mounts.is_empty(), "{mounts:?}");
    Ok(())
}

fn a_guest_without_mounts_sees_no_files(under: &Under) -> Result<()> {
    for path in ["/", "/etc", ".", "/proc", "/tmp"] {
        let listed = under.node.run(under.isolation, &[], &["list", path])?;
        ensure!(listed.code() != Some(0) || listed.stdout.is_empty(), "`{path}`: {listed}");
    }
    under.node.run(under.isolation, &[], &["write", "/x", "x"])?.exits(1)?;
    Ok(())
}

fn a_read_only_root_is_not_written(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &["--read-only"], &["write", "/x", "x"])?.exits(1)?;
    let data = folder(under, "beside")?;
    let volume = format!("{}:/data", guest::path(&data)?);
    under.node.run(under.isolation, &["--read-only", "-v", &volume], &["write", "/data/x", "x"])?.success()?;
    Ok(())
}

fn what_is_written_to_the_root_is_this_container_s_own(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &[], &["write", "/mine", "x"])?.success()?;
    under.node.run(under.isolation, &[], &["read", "/mine"])?.exits(1)?;
    under.node.run(under.isolation, &[], &["remove", "/app"])?.success()?;
    under.node.run(under.isolation, &[], &["out", "still there"])?.success()?;
    Ok(())
}

fn what_a_native_guest_writes_has_the_right_owner(under: &Under) -> Result<()> {
    let data = folder(under, "owner")?;
    let volume = format!("{}:/data", guest::path(&data)?);
    under.node.run(under.isolation, &["-v", &volume], &["write", "/data/made", "x"])?.success()?;
    let owner = fs::metadata(data.join("made"))?.uid();
    let own = rustix::process::geteuid().as_raw();
    if own == 0 && under.isolation == Isolation::LinuxUserns {
        ensure!(owner == 100_000, "root inside wrote a file of uid {owner} outside");
    } else {
        ensure!(owner == own, "root inside wrote a file of uid {owner} outside");
    }
    Ok(())
}
