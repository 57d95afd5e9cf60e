//! Standard streams: every byte, in order, apart from each other, and their ends.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use proa_tests::command::{self, Output};
use proa_tests::wait::PATIENCE;
use proa_tests::{Suite, Under, cases, guest};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            every_byte_value_passes_unchanged,
            the_end_of_input_reaches_the_guest_and_its_answer_comes_back,
            a_hundred_megabytes_pass_through_a_pipe,
            long_output_is_whole,
            standard_error_is_kept_apart,
            without_interactive_the_input_is_empty,
            a_conversation_goes_back_and_forth,
            attach_joins_a_running_guest,
            attach_tells_the_exit_code,
            output_without_a_line_s_end_is_shown,
            a_reader_who_goes_away_does_not_end_a_detached_guest,
            a_terminal_translates_line_ends,
        ],
    );
}

fn same(output: &Output, expected: &[u8]) -> Result<()> {
    let length = output.stdout.len();
    let differs = output.stdout.iter().zip(expected).position(|(left, right)| left != right);
    ensure!(
        output.stdout == expected,
        "{length} bytes came back instead of {}; first difference at {differs:?}; stderr: {}",
        expected.len(),
        output.complaint()
    );
    Ok(())
}

fn every_byte_value_passes_unchanged(under: &Under) -> Result<()> {
    let input: Vec<u8> = (0..=255_u8).cycle().take(70_000).collect();
    let line = under.node.run_line(under.isolation, &["-i"], &["cat"])?;
    same(&under.node.feed(&line, &input)?.success()?, &input)
}

fn the_end_of_input_reaches_the_guest_and_its_answer_comes_back(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &["-i"], &["upper"])?;
    let output = under.node.feed(&line, b"First\nSecond\nno line end")?.success()?;
    ensure!(output.text() == "FIRST\nSECOND\nNO LINE END", "{output}");
    ensure!(output.complaint() == "first\nsecond\nno line end", "{output}");
    Ok(())
}

fn a_hundred_megabytes_pass_through_a_pipe(under: &Under) -> Result<()> {
    let input = guest::blob(100_000_000);
    let line = under.node.run_line(under.isolation, &["-i"], &["cat"])?;
    let output = command::feed(&mut under.node.command(&line), input.clone(), Duration::from_secs(300))?;
    same(&output.success()?, &input)
}

fn long_output_is_whole(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &[], &["blob", "9000001"])?.success()?;
    same(&output, &guest::blob(9_000_001))
}

fn standard_error_is_kept_apart(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &[], &["err", "only here"])?.success()?;
    ensure!(output.stdout.is_empty() && output.stderr == b"only here\n", "{output}");
    Ok(())
}

fn without_interactive_the_input_is_empty(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &[], &["cat"])?;
    let output = under.node.feed(&line, b"nobody asked for this")?.success()?;
    ensure!(output.stdout.is_empty(), "{output}");
    Ok(())
}

fn a_conversation_goes_back_and_forth(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &["-i"], &["cat"])?;
    let mut running = command::start(&mut under.node.command(&line))?;
    let mut stdin = running.stdin()?;
    for word in ["one\n", "two\n", "three\n"] {
        stdin.write_all(word.as_bytes())?;
        running.shows("the answer before more is said", |seen| seen.ends_with(word))?;
    }
    drop(stdin);
    let output = running.finish(PATIENCE)?.success()?;
    ensure!(output.text() == "one\ntwo\nthree", "{output}");
    Ok(())
}

fn attach_joins_a_running_guest(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-i"], &["cat"])?;
    let mut attached = container.start(&["attach"])?;
    let mut stdin = attached.stdin()?;
    stdin.write_all(b"are you there\n")?;
    attached.shows("the guest's answer", |seen| seen.contains("are you there"))?;
    container.proa(&["kill"])?.success()?;
    drop(stdin);
    attached.finish(PATIENCE)?.exits(137)?;
    Ok(())
}

fn attach_tells_the_exit_code(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
    let attached = container.start(&["attach", "--no-stdin"])?;
    attached.shows("a tick", |seen| seen.contains("tick "))?;
    container.proa(&["kill"])?.success()?;
    attached.finish(PATIENCE)?.exits(137)?;
    Ok(())
}

fn output_without_a_line_s_end_is_shown(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &[], &["blob", "3"])?.success()?;
    same(&output, &guest::blob(3))
}

fn a_reader_who_goes_away_does_not_end_a_detached_guest(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.01"])?;
    let follower = container.start(&["logs", "-f"])?;
    follower.shows("a tick", |seen| seen.contains("tick 2"))?;
    let seen = container.logs()?.lines().len();
    drop(follower);
    container.shows("many more ticks", |logs| logs.lines().count() > seen + 20)
}

fn a_terminal_translates_line_ends(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["-t"], &["out", "hello"])?.success()?;
    ensure!(output.stdout == b"hello\r\n", "{output}");
    let both = under.node.run(under.isolation, &["-t"], &["err", "hello"])?.success()?;
    ensure!(both.stdout == b"hello\r\n", "a terminal has one stream: {both}");
    Ok(())
}
