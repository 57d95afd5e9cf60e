/* The floor under a warm zygote: a bare program that makes the system calls a container's start must make, in the order
 * of the plan of runc's default specification (`proa-linux plan`), with a network namespace that is there already.
 *
 *   floor ROOTFS NETNS ROUNDS PAUSE_MS CGROUP_TASKS...
 *
 * Prints the nanoseconds of each round: from before clone3 to after the reaping. What a host prepares beforehand (the
 * root's tree, opened groups) is not counted, as it is not for the zygote. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HIDDEN (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define KEPT (1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_AUDIT_WRITE)
#define MOVE (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)

static void must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		_exit(125);
	}
}

static int in_root(int base, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve };
	return syscall(SYS_openat2, base, path, &how, sizeof how);
}

/* A new mount of `kind`, whose options stand in pairs up to a NULL; a flag's value is empty. */
static int mounted(const char *kind, const char *const *options, unsigned attributes)
{
	int context = fsopen(kind, FSOPEN_CLOEXEC);
	must(context, kind);
	for (; options && *options; options += 2) {
		if (options[1][0])
			must(fsconfig(context, FSCONFIG_SET_STRING, options[0], options[1], 0), options[0]);
		else
			must(fsconfig(context, FSCONFIG_SET_FLAG, options[0], NULL, 0), options[0]);
	}
	must(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), kind);
	int mount = fsmount(context, FSMOUNT_CLOEXEC, attributes);
	must(mount, kind);
	close(context);
	return mount;
}

static void attach(int mount, int base, const char *path)
{
	int point = in_root(base, path, O_DIRECTORY, RESOLVE_NO_SYMLINKS);
	must(point, path);
	must(move_mount(mount, "", point, "", MOVE), path);
	close(point);
}

static int dev(void)
{
	static const char *const options[] = { "mode", "755", "size", "65536k", NULL };
	static const struct { const char *name; int major, minor; } nodes[] = {
		{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
		{ "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
	};
	static const char *const folders[] = { "pts", "shm", "mqueue" };
	int mount = mounted("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
	for (size_t at = 0; at < sizeof nodes / sizeof *nodes; at++) {
		dev_t device = makedev(nodes[at].major, nodes[at].minor);
		must(mknodat(mount, nodes[at].name, S_IFCHR | 0666, device), nodes[at].name);
		must(fchmodat(mount, nodes[at].name, 0666, 0), nodes[at].name);
	}
	for (size_t at = 0; at < sizeof links / sizeof *links; at++)
		must(symlinkat(links[at][0], mount, links[at][1]), links[at][1]);
	for (size_t at = 0; at < sizeof folders / sizeof *folders; at++)
		must(mkdirat(mount, folders[at], 0755), folders[at]);
	return mount;
}

/* The view of the cgroups: a folder and a mount for each hierarchy that the child stands in. */
static void cgroups(int root, int count, char **tasks)
{
	static const char *const mode[] = { "mode", "755", NULL };
	int tree = mounted("tmpfs", mode, HIDDEN);
	attach(tree, root, "sys/fs/cgroup");
	for (int at = 0; at < count; at++) {
		/* /sys/fs/cgroup/CONTROLLER/... */
		char name[32];
		must(sscanf(tasks[at], "/sys/fs/cgroup/%31[^/]", name) == 1 ? 0 : -1, tasks[at]);
		const char *const controller[] = { name, "", NULL };
		int mount = mounted("cgroup", controller, HIDDEN | MOUNT_ATTR_RDONLY);
		must(mkdirat(tree, name, 0755), name);
		attach(mount, tree, name);
		close(mount);
	}
	struct mount_attr only_read = { .attr_set = MOUNT_ATTR_RDONLY };
	must(mount_setattr(tree, "", AT_EMPTY_PATH, &only_read, sizeof only_read), "the cgroup view");
	close(tree);
}

static void read_only(int root, const char *path)
{
	struct statfs kind;
	struct mount_attr only_read = { .attr_set = MOUNT_ATTR_RDONLY };
	int point = in_root(root, path, 0, 0);
	if (point < 0)
		return;
	must(fstatfs(point, &kind), path);
	int copy = open_tree(point, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	must(copy, path);
	must(mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, &only_read, sizeof only_read), path);
	must(move_mount(copy, "", point, "", MOVE), path);
	close(copy);
	close(point);
}

static void mask(int root, const char *path)
{
	struct statfs kind;
	struct stat what;
	int point = in_root(root, path, 0, 0), cover;
	if (point < 0)
		return;
	must(fstatfs(point, &kind), path);
	must(fstat(point, &what), path);
	if (S_ISDIR(what.st_mode)) {
		cover = mounted("tmpfs", NULL, HIDDEN | MOUNT_ATTR_RDONLY);
	} else {
		int null = in_root(root, "dev/null", O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
		must(null, "dev/null");
		must(fstat(null, &what), "dev/null");
		cover = open_tree(null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		must(cover, "dev/null");
		close(null);
	}
	must(move_mount(cover, "", point, "", MOVE), path);
	close(cover);
	close(point);
}

static void files(int root, int count, char **tasks)
{
	static const char *const pts[] = { "newinstance", "", "ptmxmode", "0666", "mode", "0620", "gid", "5", NULL };
	static const char *const shm[] = { "mode", "1777", "size", "65536k", NULL };
	static const char *const closed[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	static const char *const masked[] = { "proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
		"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi" };
	int devices = dev();
	for (int at = 0; at < count; at++) {
		/* Opened beforehand by who prepares: descriptors from 100 on. */
		must(write(100 + at, "0", 1), tasks[at]);
	}
	int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(move_mount(root, "", top, "", MOVE), "the root");
	attach(mounted("proc", NULL, 0), root, "proc");
	attach(devices, root, "dev");
	attach(mounted("devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), root, "dev/pts");
	attach(mounted("tmpfs", shm, HIDDEN), root, "dev/shm");
	attach(mounted("mqueue", NULL, HIDDEN), root, "dev/mqueue");
	attach(mounted("sysfs", NULL, HIDDEN | MOUNT_ATTR_RDONLY), root, "sys");
	cgroups(root, count, tasks);
	for (size_t at = 0; at < sizeof closed / sizeof *closed; at++)
		read_only(root, closed[at]);
	for (size_t at = 0; at < sizeof masked / sizeof *masked; at++)
		mask(root, masked[at]);
	struct mount_attr only_read = { .attr_set = MOUNT_ATTR_RDONLY };
	must(mount_setattr(root, "", AT_EMPTY_PATH, &only_read, sizeof only_read), "the root");
	must(fchdir(root), "the root");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "the old root");
	must(chdir("/"), "/");
}

static void rights(void)
{
	struct rlimit limit = { 1024, 1024 };
	must(setrlimit(RLIMIT_NOFILE, &limit), "limits");
	for (int one = 0; one <= CAP_LAST_CAP; one++)
		if (!(KEPT >> one & 1))
			must(prctl(PR_CAPBSET_DROP, one, 0, 0, 0), "bounding set");
	must(setgroups(0, NULL), "groups");
	must(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps");
	must(setresgid(0, 0, 0), "gid");
	must(setresuid(0, 0, 0), "uid");
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { KEPT, KEPT, 0 }, { 0, 0, 0 } };
	must(syscall(SYS_capset, &header, sets), "capabilities");
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient set");
	umask(022);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

static void child(int root, int network, int talk, int count, char **tasks)
{
	char go;
	must(setns(network, CLONE_NEWNET), "the network namespace");
	files(root, count, tasks);
	must(sethostname("floor", 5), "host name");
	must(syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, "_ses.floor"), "keyring");
	must(setsid(), "session");
	rights();
	must(write(talk, "r", 1), "ready");
	must(read(talk, &go, 1), "go");
	must(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), "descriptors");
	char *const arguments[] = { "/bin/true", NULL }, *const environment[] = { "PATH=/bin", NULL };
	must(execve("/bin/true", arguments, environment), "/bin/true");
}

static uint64_t once(const char *rootfs, int network, int count, char **tasks)
{
	int talk[2], pidfd = -1;
	siginfo_t end;
	char ready;
	struct timespec from, to;
	int root = open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	must(root, rootfs);
	for (int at = 0; at < count; at++) {
		int file = open(tasks[at], O_WRONLY | O_CLOEXEC);
		must(file, tasks[at]);
		must(dup3(file, 100 + at, O_CLOEXEC), tasks[at]);
		close(file);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk), "socketpair");
	struct clone_args arguments = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	must(pid, "clone3");
	if (pid == 0)
		child(root, network, talk[1], count, tasks);
	close(talk[1]);
	must(read(talk[0], &ready, 1), "the child is ready");
	must(write(talk[0], "s", 1), "start");
	must(waitid(P_PIDFD, pidfd, &end, WEXITED), "waitid");
	clock_gettime(CLOCK_MONOTONIC, &to);
	if (end.si_code != CLD_EXITED || end.si_status != 0) {
		fprintf(stderr, "floor: the child ended with %d\n", end.si_status);
		exit(1);
	}
	for (int at = 0; at < count; at++)
		close(100 + at);
	close(talk[0]);
	close(pidfd);
	close(root);
	return (to.tv_sec - from.tv_sec) * 1000000000ull + to.tv_nsec - from.tv_nsec;
}

int main(int count, char **words)
{
	if (count < 5) {
		fprintf(stderr, "usage: floor ROOTFS NETNS ROUNDS PAUSE_MS CGROUP_TASKS...\n");
		return 2;
	}
	int rounds = atoi(words[3]), network = open(words[2], O_RDONLY | O_CLOEXEC);
	must(network, words[2]);
	/* As the zygote: a mount namespace of its own, out of whose reach nothing propagates. */
	must(unshare(CLONE_NEWNS), "unshare");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	struct timespec pause = { 0, atol(words[4]) * 1000000 };
	for (int round = 0; round < rounds; round++) {
		nanosleep(&pause, NULL);
		printf("%llu\n", (unsigned long long)once(words[1], network, count - 5, words + 5));
	}
	return 0;
}
