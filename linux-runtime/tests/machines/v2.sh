#!/bin/busybox sh
# The first program of a machine with cgroups v2 alone: runs the suites and tells what came of them on the second serial
# line.
export PATH=/bin HOME=/root TMPDIR=/mnt

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm /etc /tmp
mount -t devpts pts /dev/pts
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
ip link set lo up
stty -F /dev/ttyS1 raw -echo
exec 3>/dev/ttyS1

program=$(cat /program)
mkdir -p "${program%/*}"
ln -s /bin/proa-linux "$program"

echo "@begin suite" >&3
PROA_TEST_INSIDE=v2 PROA_TEST_REQUIRE=all suite --color never </dev/null >&3 2>&1
code=$?
echo >&3
echo "@end suite $code" >&3
sync
echo "@over" >&3
poweroff -f
