#!/bin/busybox sh
# First program of the machine, from its initial memory: finds the disks and goes on there. The kernel hands on `first`
# from its command line.
/bin/busybox mkdir -p /proc /sys /dev /disk
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk overlay; do
    /bin/busybox insmod /modules/$module.ko || echo "no module $module"
done
if [ "$first" = systemd ]; then
    /bin/busybox mount -t ext4 /dev/vdb /disk || echo "no system"
    /bin/busybox mount -t tmpfs run /disk/run
    /bin/busybox mkdir -p /disk/run/machine /disk/run/systemd/system
    /bin/busybox mount -t ext4 /dev/vda /disk/run/machine || echo "no disk"
    /bin/busybox cat >/disk/run/systemd/system/machine.service <<END
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/run/machine/machine.sh
SuccessAction=poweroff-force
FailureAction=poweroff-force
END
    /bin/busybox mount --move /dev /disk/dev
    exec /bin/busybox switch_root /disk /lib/systemd/systemd
fi
/bin/busybox mount -t ext4 /dev/vda /disk || echo "no disk"
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /machine.sh
