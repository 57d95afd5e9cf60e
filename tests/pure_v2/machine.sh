#!/bin/busybox sh
# What happens in the machine, once: a step is a name, a command, and what came of them, told on the second serial line
# as `@begin NAME`, the output, `@end NAME CODE`. The cases in ../pure_v2.rs judge it.
export PATH=/bin HOME=/root PROA_HOST=unix:///run/proa.sock
root=/var/lib/proa
group=/sys/fs/cgroup

/bin/busybox --install -s /bin
# Whoever made the disk may have been an ordinary user.
chown -R 0:0 /bin /lib* /images /machine.sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup $group
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm /mnt/volume
mount -t devpts pts /dev/pts
stty -F /dev/ttyS1 raw -echo
exec 3>/dev/ttyS1

step() {
    local name=$1 code
    shift
    echo "@begin $name" >&3
    "$@" >/tmp/output 2>&1 </dev/null
    code=$?
    cat /tmp/output >&3
    echo >&3
    echo "@end $name $code" >&3
    [ ! -e /dev/ttyS0 ] || echo "[$(cut -d' ' -f1 /proc/uptime)] $name $code" >/dev/ttyS0
}

listens() {
    local tries=600
    while [ ! -S /run/proa.sock ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        usleep 100000
    done
}

start_host() {
    # As an init system would have it: a group of its own, which the zygote leaves and the host stays in.
    sh -c "echo 0 >$group/service/cgroup.procs; exec proa host --root $root --socket /run/proa.sock" >>/tmp/host.log 2>&1 &
    host=$!
    listens
}

machine() {
    uname -r
    cat $group/cgroup.controllers
    grep -c ' cgroup2 ' /proc/mounts
    grep -c ' cgroup ' /proc/mounts
}

probe() {
    local isolation=$1
    shift
    proa run --rm --isolation "$isolation" oci:/images/probe "$@"
}

out_of_memory() {
    proa run --name oom-$1 --isolation "$1" -m 32m oci:/images/probe alloc 200
    local code=$?
    proa inspect oom-$1 | grep OOMKilled
    proa rm oom-$1 >/dev/null
    return $code
}

many='i=0; while [ $i -lt 30 ]; do sleep 20 & i=$((i+1)); done; echo all'
pids() { proa run --rm --isolation "$1" --pids-limit "$2" oci:/images/busybox sh -c "$many"; }

bounds() {
    local id=$(proa run -d --isolation "$1" --cpus 0.25 -m 64m --pids-limit 50 oci:/images/busybox sleep 100)
    local folder=$(ls -d $group/proa-*/$id)
    for file in cpu.max memory.max pids.max; do echo "outside $file $(cat $folder/$file)"; done
    for file in cpu.max memory.max pids.max; do echo "inside $file $(proa exec $id cat /sys/fs/cgroup/$file)"; done
    echo "view $(proa exec $id cat /proc/self/cgroup)"
    echo "write $(proa exec $id sh -c 'echo max >/sys/fs/cgroup/memory.max' 2>&1)"
    echo "members $(wc -l <$folder/cgroup.procs)"
    proa kill $id >/dev/null
    proa rm -f $id >/dev/null
    [ ! -d $folder ]
}

# A guest that counts: it stands still while it is held, and ends when it is killed then.
held() {
    local id=$(proa run -d --isolation "$1" oci:/images/busybox sh -c \
        'i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done') tries=100
    local folder=$(ls -d $group/proa-*/$id)
    until proa logs $id | grep -q '^3$' || [ $tries = 0 ]; do tries=$((tries - 1)); usleep 100000; done
    proa pause $id >/dev/null
    echo "held $(cat $folder/cgroup.freeze) $(grep frozen $folder/cgroup.events)"
    local before=$(proa logs $id | wc -l)
    usleep 500000
    echo "counted $(($(proa logs $id | wc -l) - before))"
    proa unpause $id >/dev/null
    echo "free $(cat $folder/cgroup.freeze)"
    proa pause $id >/dev/null
    proa kill $id >/dev/null
    echo "code $(proa wait $id)"
    proa rm $id >/dev/null
    [ ! -d $folder ]
}

other_bounds() {
    local id=$(proa run -d --isolation "$1" -m 64m oci:/images/busybox sleep 100)
    local folder=$(ls -d $group/proa-*/$id)
    proa update -m 96m --memory-swap 128m --cpus 0.5 --pids-limit 40 $id >/dev/null
    for file in memory.max memory.swap.max cpu.max pids.max; do echo "$file $(cat $folder/$file)"; done
    proa update --pids-limit -1 $id >/dev/null
    echo "without $(cat $folder/pids.max)"
    proa rm -f $id >/dev/null
}

# A worker of its own is bound by its cgroup; the tenant's stands beside it.
worker_bounds() {
    local id=$(proa run -d --isolation wasm-process --cpus 0.25 oci:/images/probe sleep 100)
    cat $group/proa-*/worker-*/cpu.max
    proa rm -f $id >/dev/null
}

# The machine's own devices, brought in by whoever may.
devices() {
    proa run --rm --isolation "$1" -v /dev:/machine oci:/images/busybox sh -c \
        'head -c 1 /dev/zero >/dev/null && echo own; head -c 1 /machine/zero >/dev/null && echo theirs
         head -c 1 /machine/vda; head -c 1 /machine/mem; echo x >/machine/ttyS0'
}

owners() {
    local id=$(proa run -d --isolation linux-userns -v /mnt/volume:/volume oci:/images/busybox \
        sh -c 'touch /made; touch /volume/x 2>/dev/null && echo volume; stat -c %u /bin/busybox; id -u; sleep 100')
    local tries=100
    until proa logs $id | grep -q '^0$' || [ $tries = 0 ]; do tries=$((tries - 1)); usleep 100000; done
    echo "made $(stat -c %u $root/containers/$id/scratch/upper/made)"
    echo "map $(cat /proc/$(proa inspect --format '{{.State.Pid}}' $id)/uid_map)"
    echo "image $(stat -c %u $root/layers/*/bin/busybox)"
    echo "logs $(proa logs $id)"
    echo "exec $(proa exec $id id -u)"
    proa rm -f $id >/dev/null
}

volume() {
    chown 7:8 /mnt/volume
    proa run --rm --isolation wasm -v /mnt/volume:/data oci:/images/probe write /data/made text
    stat -c '%u %g' /mnt/volume/made
    cat /mnt/volume/made
}

survival() {
    local id=$(proa run -d --isolation "$1" oci:/images/probe sleep 200)
    kill -9 $host
    wait $host 2>/dev/null
    rm -f /run/proa.sock
    start_host
    proa ps -q --no-trunc | grep -x $id
    proa stop -t 1 $id >/dev/null
    proa rm -f $id >/dev/null
}

leftovers() {
    proa system stop
    local code=$? tries=100
    while kill -0 $host 2>/dev/null && [ $tries != 0 ]; do tries=$((tries - 1)); usleep 100000; done
    ls -d $group/proa-* 2>/dev/null
    ps -o pid,comm,args | grep -v grep | grep proa
    grep proa /proc/mounts
    ls -A $root/run $root/containers | grep -v '^$\|:$'
    cat $group/service/cgroup.procs
    return $code
}

mkdir $group/service
step machine machine
step host start_host
for isolation in linux linux-userns wasm wasm-process; do
    step hello-$isolation probe $isolation out "hello from $isolation"
done
for isolation in linux linux-userns; do
    step code-$isolation probe $isolation exit 7
    step oom-$isolation out_of_memory $isolation
    step few-$isolation pids $isolation 8
    step many-$isolation pids $isolation 100
    step bounds-$isolation bounds $isolation
    step held-$isolation held $isolation
    step other-bounds-$isolation other_bounds $isolation
done
step bounds-wasm-process worker_bounds
step read-only proa run --rm --isolation linux --read-only -w /not/there oci:/images/busybox pwd
for isolation in linux linux-userns; do
    step devices-$isolation devices $isolation
done
step owners owners
step volume-wasm volume
step volume-tmpfs proa run --rm --isolation wasm -v /tmp:/data oci:/images/probe list /data
step survival-linux survival linux
step survival-wasm survival wasm
step leftovers leftovers
root=/tmp/root
step memory-host start_host
step memory-linux probe linux out "layers in memory"
step memory-linux-userns probe linux-userns out "layers in memory"
step memory-leftovers leftovers
step host-log cat /tmp/host.log
sync
echo "@over" >&3
poweroff -f
