# What libseccomp makes of profiles: reads them as JSON, one list, and writes each filter in hexadecimal, one line each,
# which is empty where it refuses a rule. Rules go to libseccomp as runc hands them over.
import ctypes, json, os, sys, tempfile

lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
ARCHS = {"SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}
ACTIONS = {"SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_TRAP": 0x30000,
           "SCMP_ACT_ERRNO": 0x50000, "SCMP_ACT_TRACE": 0x7FF00000, "SCMP_ACT_LOG": 0x7FFC0000,
           "SCMP_ACT_ALLOW": 0x7FFF0000}
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def action(name, data):
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return ACTIONS[name] | (1 if data is None else data)
    return ACTIONS[name]


def compare(arg):
    operator = OPERATORS.index(arg["op"].removeprefix("SCMP_CMP_")) + 1
    return Compare(arg["index"], operator, arg["value"], arg.get("valueTwo", 0))


def compiled(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(default)))
    for arch in profile.get("architectures", []):
        lib.seccomp_arch_add(context, ctypes.c_uint32(ARCHS[arch]))
    for rule in profile["syscalls"]:
        verdict = action(rule["action"], rule.get("errnoRet"))
        compares = [compare(arg) for arg in rule["args"]]
        apart = len({one.arg for one in compares}) < len(compares)
        for some in [[one] for one in compares] if apart else [compares]:
            for name in rule["names"] if verdict != default else []:
                number = lib.seccomp_syscall_resolve_name(name.encode())
                if number != -1:
                    array = (Compare * len(some))(*some)
                    code = lib.seccomp_rule_add_array(context, ctypes.c_uint32(verdict), number, len(some), array)
                    if code != 0:
                        return ""
    with tempfile.TemporaryFile() as file:
        assert lib.seccomp_export_bpf(context, file.fileno()) == 0
        lib.seccomp_release(context)
        return os.pread(file.fileno(), 1 << 20, 0).hex()


for profile in json.load(sys.stdin):
    print(compiled(profile))
