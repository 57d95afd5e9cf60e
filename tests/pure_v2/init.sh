#!/bin/busybox sh
# First program of the machine, from its initial memory: finds the disk and goes on there.
/bin/busybox mkdir -p /proc /sys /dev /disk
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk overlay; do
    /bin/busybox insmod /modules/$module.ko || echo "no module $module"
done
/bin/busybox mount -t ext4 /dev/vda /disk || echo "no disk"
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /machine.sh
