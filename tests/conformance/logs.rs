//! `proa logs`: whole, in part, and as it comes.

use anyhow::{Result, ensure};
use proa_tests::{Suite, Under, cases, wait};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            logs_are_whole_after_the_end,
            logs_keep_the_streams_apart,
            tail_shows_the_last_lines,
            follow_shows_what_comes_and_ends_with_the_guest,
            follow_from_the_tail_shows_each_line_once,
            timestamps_stand_before_each_line,
            logs_of_an_unknown_container_are_refused,
        ],
    );
}

fn logs_are_whole_after_the_end(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["lines", "20000"])?;
    ensure!(container.wait()? == 0);
    let lines = container.logs()?.lines();
    ensure!(lines.len() == 20_000, "{} lines", lines.len());
    let wrong = lines.iter().enumerate().find(|(number, line)| **line != format!("line {}", number + 1));
    ensure!(wrong.is_none(), "{wrong:?}");
    Ok(())
}

fn logs_keep_the_streams_apart(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["err", "to the other"])?;
    ensure!(container.wait()? == 0);
    let logs = container.logs()?;
    ensure!(logs.stdout.is_empty() && logs.stderr == b"to the other\n", "{logs}");
    Ok(())
}

fn tail_shows_the_last_lines(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["lines", "1000"])?;
    ensure!(container.wait()? == 0);
    let two = container.proa(&["logs", "--tail", "2"])?.success()?;
    ensure!(two.text() == "line 999\nline 1000", "{two}");
    let none = container.proa(&["logs", "--tail", "0"])?.success()?;
    ensure!(none.stdout.is_empty(), "{none}");
    let all = container.proa(&["logs", "--tail", "all"])?.success()?;
    ensure!(all.lines().len() == 1000, "{} lines", all.lines().len());
    let more = container.proa(&["logs", "-n", "5000"])?.success()?;
    ensure!(more.lines().len() == 1000, "{} lines", more.lines().len());
    Ok(())
}

fn follow_shows_what_comes_and_ends_with_the_guest(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.02"])?;
    let follower = container.start(&["logs", "-f"])?;
    follower.shows("the ticks as they come", |seen| seen.contains("tick 20\n"))?;
    container.proa(&["kill"])?.success()?;
    let output = follower.finish(wait::PATIENCE)?.success()?;
    let lines = output.lines();
    let wrong = lines.iter().enumerate().find(|(number, line)| **line != format!("tick {}", number + 1));
    ensure!(wrong.is_none(), "{wrong:?} in {output}");
    Ok(())
}

fn follow_from_the_tail_shows_each_line_once(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.01"])?;
    container.shows("some ticks", |logs| logs.contains("tick 30\n"))?;
    let follower = container.start(&["logs", "-f", "--tail", "3"])?;
    follower.shows("new ticks", |seen| seen.lines().count() > 20)?;
    container.proa(&["kill"])?.success()?;
    let lines = follower.finish(wait::PATIENCE)?.success()?.lines();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect();
    ensure!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    ensure!(numbers.first() > Some(&20), "it began at {:?}", numbers.first());
    Ok(())
}

fn timestamps_stand_before_each_line(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["lines", "3"])?;
    ensure!(container.wait()? == 0);
    let stamped = container.proa(&["logs", "-t"])?.success()?;
    for (number, line) in stamped.lines().iter().enumerate() {
        let (stamp, rest) = line.split_once(' ').unwrap_or_default();
        ensure!(stamp.len() >= 20 && stamp.contains('T') && stamp.ends_with('Z'), "{stamped}");
        ensure!(rest == format!("line {}", number + 1), "{stamped}");
    }
    ensure!(stamped.lines().len() == 3, "{stamped}");
    Ok(())
}

fn logs_of_an_unknown_container_are_refused(under: &Under) -> Result<()> {
    under.node.proa(&["logs", "nosuchcontainer"])?.refused(1, &["no such container", "nosuchcontainer"])?;
    Ok(())
}
