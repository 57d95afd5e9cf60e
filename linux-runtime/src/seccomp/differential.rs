//! What libseccomp makes of the same profiles, compared call by call. Where python or libseccomp is missing, the test says so
//! and, under PROA_TEST_REQUIRE=all, fails.

use std::io::Write;
use std::process::{Command, Stdio};

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::interpreter::judge;
use super::{profile, table};
use crate::sys::Instruction;

/// The filters of libseccomp, or why there are none.
fn theirs(profiles: &[Value]) -> Result<Vec<Vec<Instruction>>, String> {
    let mut python = Command::new("python3");
    python.args(["-c", include_str!("differential.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().map_err(|error| format!("python3: {error}"))?;
    let text = serde_json::to_vec(profiles).unwrap();
    python.stdin.take().unwrap().write_all(&text).map_err(|error| error.to_string())?;
    let output = python.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("python3 with libseccomp.so.2 ended with {}", output.status));
    }
    Ok(String::from_utf8(output.stdout).unwrap().lines().map(decoded).collect())
}

fn decoded(line: &str) -> Vec<Instruction> {
    let bytes =
        line.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let one = |of: &[u8]| Instruction {
        code: u16::from_le_bytes([of[0], of[1]]),
        jt: of[2],
        jf: of[3],
        k: u32::from_le_bytes([of[4], of[5], of[6], of[7]]),
    };
    bytes.chunks(8).map(one).collect()
}

/// Numbers from a seed, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

const NAMES: [&str; 7] = ["read", "ioctl", "clone", "_llseek", "mmap2", "rt_sigaction", "statx"];
const VALUES: [u64; 6] = [0, 1, 2, 0x1_0000_0001, 0xffff_ffff, u64::MAX];
const OPERATORS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];

/// Either several architectures, or rules with arguments, and of those at most one for each call: elsewhere libseccomp's trees
/// lose ways, even among rules that say the same.
fn profile(dice: &mut Dice) -> Value {
    let (architectures, most) = *dice.one(&[(&[][..], 3), (&["SCMP_ARCH_X86", "SCMP_ARCH_X32"][..], 0)]);
    let rules: Vec<Value> = (0..1 + dice.roll(7)).map(|at| rule(dice, NAMES[at], most)).collect();
    let default = dice.one(&["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]);
    json!({ "defaultAction": default, "architectures": architectures, "syscalls": rules })
}

fn rule(dice: &mut Dice, name: &str, most: usize) -> Value {
    let arguments: Vec<Value> = (0..dice.roll(most + 1)).map(|index| argument(dice, index)).collect();
    let action =
        *dice.one(&["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]);
    let names = if arguments.is_empty() { vec![name, *dice.one(&NAMES)] } else { vec![name] };
    json!({ "names": names, "action": action, "errnoRet": errno(action, dice), "args": arguments })
}

fn argument(dice: &mut Dice, index: usize) -> Value {
    let (operator, value, other) = (dice.one(&OPERATORS), *dice.one(&VALUES), *dice.one(&VALUES));
    json!({ "index": index, "op": format!("SCMP_CMP_{operator}"), "value": value, "valueTwo": value & other })
}

fn errno(action: &str, dice: &mut Dice) -> Option<usize> {
    (action == "SCMP_ACT_ERRNO").then(|| 1 + dice.roll(3))
}

#[test]
fn filters_decide_as_those_of_libseccomp() {
    let mut dice = Dice(1);
    let profiles: Vec<Value> = (0..300).map(|_| profile(&mut dice)).collect();
    let theirs = match theirs(&profiles) {
        Ok(theirs) => theirs,
        Err(reason) => {
            assert!(std::env::var_os("PROA_TEST_REQUIRE").is_none(), "{reason}");
            return eprintln!("ignored, {reason}");
        }
    };
    let accepted = profiles.iter().zip(&theirs).filter(|(_, theirs)| !theirs.is_empty());
    assert!(accepted.clone().count() > 250);
    for (value, theirs) in accepted {
        let seccomp: LinuxSeccomp = serde_json::from_value(value.clone()).unwrap();
        let ours = profile::lower(&seccomp).unwrap().program;
        for (abi, name) in profile::architectures(&seccomp).into_iter().flat_map(|abi| NAMES.map(|name| (abi, name))) {
            let Some(number) = table::number(name, abi) else { continue };
            for arguments in arguments() {
                let (ours, theirs) = (judge(&ours, abi, number, arguments), judge(theirs, abi, number, arguments));
                // Newer than what the profile names: runc's own addition, which libseccomp does not make.
                let newer = ours == super::errno(libc::ENOSYS);
                assert!(ours == theirs || newer, "{value}: {abi:?} {name} {arguments:x?}: {ours:#x}, not {theirs:#x}");
            }
        }
    }
}

/// Three arguments of every value.
fn arguments() -> impl Iterator<Item = [u64; 6]> {
    let all = (0..VALUES.len().pow(3)).map(|at| [at % 6, at / 6 % 6, at / 36]);
    all.map(|[first, second, third]| [VALUES[first], VALUES[second], VALUES[third], 0, 0, 0])
}
