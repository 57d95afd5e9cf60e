#!/bin/sh
# A service of systemd, which owns the cgroups: runs the suite and tells what came of it on the second serial line.
export PATH=/run/machine/bin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/run/machine/mnt
cp /run/machine/bin/busybox /bin/busybox
busybox stty -F /dev/ttyS1 raw -echo
exec 3>/dev/ttyS1

program=$(cat /run/machine/program)
mkdir -p "${program%/*}"
ln -s /run/machine/bin/proa-linux "$program"

echo "@begin suite" >&3
export PROA_TEST_INSIDE=systemd PROA_TEST_REQUIRE=all
suite --color never </dev/null >&3 2>&1
code=$?
echo >&3
echo "@end suite $code" >&3
sync
echo "@over" >&3
# What a failed case left behind is not waited for.
busybox poweroff -f
