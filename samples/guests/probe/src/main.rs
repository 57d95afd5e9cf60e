//! The conformance suite's guest: one small verb for each thing that a test wants to see from inside.
//!
//! `probe VERB [ARGUMENT]...`; the table is in README.md. One source for WASI and for Linux.

use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, hint, process, thread};

fn main() -> ExitCode {
    let first = SystemTime::now();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(first, &args) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "probe: {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(first: SystemTime, args: &[&str]) -> io::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    match *args {
        ["exit", code] => return Ok(ExitCode::from(number(code)? as u8)),
        ["cat"] => return cat(&mut out),
        ["upper"] => return upper(),
        ["out", text] => writeln!(out, "{text}")?,
        ["err", text] => writeln!(io::stderr(), "{text}")?,
        ["env"] => env::vars().try_for_each(|(name, value)| writeln!(out, "{name}={value}"))?,
        ["args", ref rest @ ..] => rest.iter().try_for_each(|arg| writeln!(out, "{arg}"))?,
        ["cwd"] => writeln!(out, "{}", env::current_dir()?.display())?,
        ["write", path, text] => fs::write(path, text)?,
        ["append", path, text] => {
            fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())?
        }
        ["read", path] => out.write_all(&fs::read(path)?)?,
        ["remove", path] => fs::remove_file(path)?,
        ["list", path] => list(path, &mut out)?,
        ["spin"] => loop {
            hint::spin_loop();
        },
        ["sleep", seconds] => thread::sleep(Duration::from_secs_f64(float(seconds)?)),
        ["alloc", mib] => drop(alloc(number(mib)?, &mut out)?),
        ["hold", mib] => {
            let held = alloc(number(mib)?, &mut out)?;
            io::copy(&mut io::stdin().lock(), &mut io::sink())?;
            drop(held);
        }
        ["trap"] => {
            out.flush()?;
            deep_inside_the_guest()
        }
        ["panic"] => panic!("asked to"),
        ["lines", count] => (1..=number(count)?).try_for_each(|line| writeln!(out, "line {line}"))?,
        ["tick", seconds] => tick(float(seconds)?, &mut out)?,
        ["blob", bytes] => blob(number(bytes)?, &mut out)?,
        ["clock"] => writeln!(out, "{}", first.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())?,
        _ => {
            writeln!(io::stderr(), "probe: no such verb: {}", args.join(" "))?;
            return Ok(ExitCode::from(2));
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Standard input to standard output, byte for byte, each piece as soon as it comes; ends at the input's end.
fn cat(out: &mut impl Write) -> io::Result<ExitCode> {
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(ExitCode::SUCCESS),
            n => {
                out.write_all(&buffer[..n])?;
                out.flush()?;
            }
        }
    }
}

/// Each line of standard input in capitals to standard output, in small letters to standard error.
fn upper() -> io::Result<ExitCode> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        writeln!(io::stdout(), "{}", line.to_uppercase())?;
        writeln!(io::stderr(), "{}", line.to_lowercase())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(path: &str, out: &mut impl Write) -> io::Result<()> {
    let mut names: Vec<String> = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    names.iter().try_for_each(|name| writeln!(out, "{name}"))
}

/// Takes memory a MiB at a time and touches every page, saying how far it came.
fn alloc(mib: u64, out: &mut impl Write) -> io::Result<Vec<Vec<u8>>> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for taken in 1..=mib {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(1 << 20).is_err() {
            out.flush()?;
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory after {} MiB", taken - 1)));
        }
        piece.resize(1 << 20, taken as u8);
        held.push(hint::black_box(piece));
    }
    writeln!(out, "allocated {mib} MiB")?;
    out.flush()?;
    Ok(hint::black_box(held))
}

/// A named frame below `main`, for the backtrace.
#[inline(never)]
fn deep_inside_the_guest() -> ! {
    process::abort()
}

/// A numbered line now and one each `seconds`, for ever.
fn tick(seconds: f64, out: &mut impl Write) -> io::Result<()> {
    for count in 1_u64.. {
        writeln!(out, "tick {count}")?;
        out.flush()?;
        thread::sleep(Duration::from_secs_f64(seconds));
    }
    Ok(())
}

/// `bytes` bytes of xorshift64 from the seed 1, eight at a time in little endian: the same everywhere, so that a test
/// can compute them too.
fn blob(bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let (mut state, mut left) = (1_u64, bytes);
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let piece = left.min(8) as usize;
        out.write_all(&state.to_le_bytes()[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn float(text: &str) -> io::Result<f64> {
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
