//! The ways by which a program calls the kernel: each has numbers of its own, and a filter is asked about all of them.

use oci_spec::runtime::Arch;

/// One way of calling, in the order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Abi {
    X86_64,
    /// 32-bit calls of x86 (`int 0x80`), from 64-bit programs too.
    X86,
    /// 32-bit addresses in 64-bit mode: x86_64's architecture, with a mark on the number.
    X32,
    Aarch64,
    Arm,
}

/// x32's mark (`__X32_SYSCALL_BIT`).
pub(super) const X32_MARK: u32 = 0x4000_0000;

impl Abi {
    /// What this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: Abi = Abi::X86_64;
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: Abi = Abi::Aarch64;

    /// What the kernel calls its architecture in `struct seccomp_data`: `AUDIT_ARCH_*`, that is the ELF machine, and marks
    /// for 64 bits and little endian.
    pub(super) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits; else only the lower half is looked at, as libseccomp does.
    pub(super) fn is_wide(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64)
    }

    /// The ABI that a specification names; `None` for what no program can call this kernel by.
    pub(super) fn named(arch: Arch) -> Option<Abi> {
        let abi = match arch {
            Arch::ScmpArchNative => Abi::NATIVE,
            Arch::ScmpArchX86_64 => Abi::X86_64,
            Arch::ScmpArchX86 => Abi::X86,
            Arch::ScmpArchX32 => Abi::X32,
            Arch::ScmpArchAarch64 => Abi::Aarch64,
            Arch::ScmpArchArm => Abi::Arm,
            _ => return None,
        };
        Abi::OFFERED.iter().any(|(offered, _)| *offered == abi).then_some(abi)
    }

    /// What programs can call this kernel by, and the specification's names.
    #[cfg(target_arch = "x86_64")]
    pub(super) const OFFERED: &[(Abi, Arch)] =
        &[(Abi::X86_64, Arch::ScmpArchX86_64), (Abi::X86, Arch::ScmpArchX86), (Abi::X32, Arch::ScmpArchX32)];
    #[cfg(target_arch = "aarch64")]
    pub(super) const OFFERED: &[(Abi, Arch)] = &[(Abi::Aarch64, Arch::ScmpArchAarch64), (Abi::Arm, Arch::ScmpArchArm)];
}
