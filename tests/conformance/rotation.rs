//! Logs within bounds: rotated, followed over rotations, narrowed by time, or not kept at all.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, encoded};
use proa_tests::container::Container;
use proa_tests::{Suite, Under, cases, wait};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            a_log_stays_within_its_bounds,
            a_follower_sees_every_line_over_rotations,
            the_tail_is_found_over_rotations,
            a_run_in_the_foreground_loses_nothing_to_a_small_log,
            a_driver_that_keeps_nothing_shows_nothing_afterwards,
            since_and_until_narrow_by_time,
            details_stand_before_each_line,
            a_wrong_option_is_refused,
        ],
    );
}

/// A GET whose target may hold what a filter holds.
fn get(under: &Under, target: &str) -> Result<Answer> {
    under.node.get(&encoded(target))
}

const SMALL: [&str; 4] = ["--log-opt", "max-size=16k", "--log-opt", "max-file=3"];

/// The sizes of a container's log files.
fn files(container: &Container<'_>) -> Result<Vec<u64>> {
    let path = container.inspect()?["LogPath"].as_str().context("`LogPath` is text")?.to_owned();
    let folder = std::path::Path::new(&path).parent().context("a log lies in a folder")?;
    let mut sizes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log") {
            sizes.push(entry.metadata()?.len());
        }
    }
    Ok(sizes)
}

fn a_log_stays_within_its_bounds(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &SMALL, &["lines", "20000"])?;
    loop {
        let sizes = files(&container)?;
        // One more while the oldest goes.
        ensure!(sizes.len() <= 4 && sizes.iter().all(|size| *size <= 16_000), "{sizes:?}");
        if container.inspect()?["State"]["Running"] == false {
            break;
        }
    }
    let sizes = files(&container)?;
    ensure!(sizes.len() == 3, "{sizes:?}");
    let lines = container.logs()?.lines();
    ensure!(lines.last().is_some_and(|line| line == "line 20000"), "{:?}", lines.last());
    ensure!((1000..19_000).contains(&lines.len()), "{} lines are kept", lines.len());
    Ok(())
}

fn a_follower_sees_every_line_over_rotations(under: &Under) -> Result<()> {
    let flags = [&["-i"][..], &SMALL].concat();
    let container = under.node.detached(under.isolation, &flags, &["cat"])?;
    let follower = container.start(&["logs", "-f"])?;
    let mut attached = container.start(&["attach"])?;
    let mut stdin = attached.stdin()?;
    std::io::Write::write_all(&mut stdin, b"line 1\n")?;
    // Both are there from the beginning: what was rotated away before they came is not theirs.
    for running in [&follower, &attached] {
        running.shows("the first line", |seen| seen.contains("line 1\n"))?;
    }
    let text: String = (2..=30_000).map(|number| format!("line {number}\n")).collect();
    std::io::Write::write_all(&mut stdin, text.as_bytes())?;
    follower.shows("the last line", |seen| seen.contains("line 30000\n"))?;
    container.proa(&["kill"])?.success()?;
    drop(stdin);
    for (who, running) in [("logs -f", follower), ("attach", attached)] {
        let lines = running.finish(wait::PATIENCE)?.lines();
        let wrong = lines.iter().enumerate().find(|(number, line)| **line != format!("line {}", number + 1));
        ensure!(lines.len() == 30_000 && wrong.is_none(), "{who}: {} lines, {wrong:?}", lines.len());
    }
    Ok(())
}

fn the_tail_is_found_over_rotations(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &SMALL, &["lines", "20000"])?;
    ensure!(container.wait()? == 0);
    let lines = container.proa(&["logs", "-n", "900"])?.success()?.lines();
    ensure!(
        lines.len() == 900 && lines[0] == "line 19101" && lines[899] == "line 20000",
        "{}: {:?}",
        lines.len(),
        lines[0]
    );
    Ok(())
}

fn a_run_in_the_foreground_loses_nothing_to_a_small_log(under: &Under) -> Result<()> {
    let lines = under.node.run(under.isolation, &SMALL, &["lines", "50000"])?.success()?.lines();
    let wrong = lines.iter().enumerate().find(|(number, line)| **line != format!("line {}", number + 1));
    ensure!(lines.len() == 50_000 && wrong.is_none(), "{} lines, {wrong:?}", lines.len());
    Ok(())
}

fn a_driver_that_keeps_nothing_shows_nothing_afterwards(under: &Under) -> Result<()> {
    let none = ["--log-driver", "none"];
    let output = under.node.run(under.isolation, &none, &["out", "seen live"])?.success()?;
    ensure!(output.text() == "seen live", "{output}");
    let container = under.node.detached(under.isolation, &none, &["out", "gone"])?;
    ensure!(container.wait()? == 0);
    let answer = get(under, &format!("/containers/{}/logs?stdout=1", container.id()))?;
    ensure!(answer.status == 501, "{}", answer.status);
    ensure!(answer.text().contains("configured logging driver does not support reading"), "{}", answer.text());
    wait::until("nothing of it is on the disk", || Ok(files(&container)?.is_empty()))
}

fn since_and_until_narrow_by_time(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
    container.shows("ticks", |logs| logs.contains("tick 20\n"))?;
    container.proa(&["kill"])?.success()?;
    let read = |query: &str| -> Result<String> {
        let target = format!("/containers/{}/logs?stdout=1&timestamps=1{query}", container.id());
        Ok(String::from_utf8_lossy(&unframed(&get(under, &target)?.success()?.body)).into_owned())
    };
    let all = read("")?;
    let stamp = |line: usize| -> Result<String> {
        let line = all.lines().nth(line).context("there are ticks")?;
        Ok(line.split(' ').next().unwrap_or_default().to_owned())
    };
    let (fifth, tenth) = (stamp(4)?, stamp(9)?);
    let some = read(&format!("&since={fifth}&until={tenth}"))?;
    let lines: Vec<&str> = some.lines().filter_map(|line| line.split_once(' ')).map(|(_, text)| text).collect();
    ensure!(lines.first() == Some(&"tick 5") && lines.last() == Some(&"tick 10"), "{some}");
    let seconds = "1".to_owned();
    ensure!(read(&format!("&until={seconds}"))?.is_empty(), "nothing is older than 1970");
    ensure!(read("&since=4000000000")?.is_empty(), "nothing is from 2096");
    let bad = get(under, &format!("/containers/{}/logs?stdout=1&since=yesterday", container.id()))?;
    ensure!(bad.status == 400, "{}", bad.status);
    Ok(())
}

/// The texts of a multiplexed stream.
fn unframed(mut bytes: &[u8]) -> Vec<u8> {
    // A chunked body may still carry its frames; the kit has taken the chunks away.
    let mut text = Vec::new();
    while bytes.len() >= 8 {
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        let end = (8 + length).min(bytes.len());
        text.extend_from_slice(&bytes[8..end]);
        bytes = &bytes[end..];
    }
    text
}

fn details_stand_before_each_line(under: &Under) -> Result<()> {
    let flags = ["--label", "tier=web", "--log-opt", "labels=tier"];
    let container = under.node.detached(under.isolation, &flags, &["out", "said"])?;
    ensure!(container.wait()? == 0);
    let target = format!("/containers/{}/logs?stdout=1&details=1", container.id());
    let text = unframed(&get(under, &target)?.success()?.body);
    ensure!(text == b"tier=web said\n", "{}", String::from_utf8_lossy(&text));
    Ok(())
}

fn a_wrong_option_is_refused(under: &Under) -> Result<()> {
    let image = under.node.probe()?;
    for (log, sentence) in [
        (serde_json::json!({ "Type": "syslog" }), "no log driver named 'syslog' is registered"),
        (serde_json::json!({ "Type": "json-file", "Config": { "max-size": "lots" } }), "lots"),
        (serde_json::json!({ "Type": "json-file", "Config": { "max-file": "0" } }), "max-file cannot be less than 1"),
        (serde_json::json!({ "Type": "json-file", "Config": { "size": "1" } }), "unknown log opt 'size'"),
    ] {
        let body = serde_json::json!({ "Image": image, "Cmd": ["out", "x"],
            "HostConfig": { "Isolation": under.isolation.name(), "LogConfig": log } });
        let answer = under.node.post("/containers/create", "application/json", &serde_json::to_vec(&body)?)?;
        ensure!(answer.status == 400 && answer.text().contains(sentence), "{}: {}", answer.status, answer.text());
    }
    Ok(())
}
