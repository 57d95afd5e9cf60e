/* Asks the kernel for what a guest must not have, and tells what it answered: a name and the error's number, a line each.
 * With `int80`, what 32-bit calls of a 64-bit program answer. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *name, long answer) {
    printf("%s %d\n", name, answer < 0 ? errno : 0);
    fflush(stdout);
}

static long forked(long pid) {
    if (pid == 0) _exit(0);
    return pid;
}

#ifdef __x86_64__
/* Arguments are of 32 bits: pointers must lie below 4 GiB, as in a program that is not position-independent. */
static long old(long number, long first, long second, long third) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "r8", "r9", "r10", "r11", "memory");
    return (int)answer;
}

static void tell_old(const char *name, long answer) {
    errno = answer < 0 ? (int)-answer : 0;
    tell(name, answer < 0 ? -1 : 0);
}

static unsigned family[3] = { AF_ALG, SOCK_SEQPACKET, 0 };

static void int80(void) {
    tell_old("getpid", old(20, 0, 0, 0));
    tell_old("af_alg", old(359, AF_ALG, SOCK_SEQPACKET, 0));
    tell_old("af_alg_by_socketcall", old(102, 1, (long)family, 0));
    tell_old("keyctl", old(288, 0, -3, 0));
}
#endif

int main(int count, char **words) {
#ifdef __x86_64__
    if (count > 1 && strcmp(words[1], "int80") == 0) {
        int80();
        return 0;
    }
    tell("x32_getpid", syscall(0x40000000 | SYS_getpid));
#endif
    struct io_uring_params ring = { 0 };
    union bpf_attr program = { 0 };
    unsigned long long clone3[8] = { CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0 };
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, &ring));
    tell("io_uring_enter", syscall(SYS_io_uring_enter, -1, 0, 0, 0, 0, 0));
    tell("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    tell("af_alg_beyond_32_bits", syscall(SYS_socket, AF_ALG | 1UL << 32, SOCK_SEQPACKET, 0));
    tell("af_vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    tell("add_key", syscall(SYS_add_key, "user", "name", "value", 5, -3));
    tell("request_key", syscall(SYS_request_key, "user", "name", 0, -3));
    tell("unshare_user", unshare(CLONE_NEWUSER));
    tell("clone_user", forked(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)));
    tell("clone3_user", forked(syscall(SYS_clone3, clone3, sizeof clone3)));
    tell("setns", syscall(SYS_setns, -1, 0));
    tell("userfaultfd", syscall(SYS_userfaultfd, 1));
    tell("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &program, sizeof program));
    tell("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
    tell("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, 0, 0));
    tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    tell("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    tell("af_inet", socket(AF_INET, SOCK_STREAM, 0));
    return 0;
}
