#!/bin/busybox sh
# First process of the guest, from the initramfs: puts the host's file system under the guest and
# hands over to `xtask guest-supervise`. What it prints goes to the console, which xtask shows when
# something fails. If it ends, the kernel panics, and that ends the machine.
set -eu
/bin/busybox --install -s /bin
export PATH=/bin
trap 'echo "init: stopped before the handover"' EXIT

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

echo "init: loading modules"
while read -r module; do
    insmod "/modules/$module" || echo "init: $module was not loaded"
done </modules.order

# cache=loose: the guest may keep what it has read. Only the host can change these files, and a run
# is short.
echo "init: mounting the host's files"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /lower
mount -t tmpfs -o size=90%,mode=755 upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root

# /tmp stays the host's, seen through the overlay: a cargo target folder may live there.
# /run does not: the host's named namespaces and sockets mean nothing here.
mkdir -p /root/proc /root/sys /root/dev /root/run /root/tmp
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /root/run/lock /root/run/netns /root/dev/pts /root/dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs -o mode=1777 shm /root/dev/shm
mount -t cgroup2 cgroup /root/sys/fs/cgroup
# What udev would do.
ln -sf /proc/self/fd /root/dev/fd
ln -sf fd/0 /root/dev/stdin
ln -sf fd/1 /root/dev/stdout
ln -sf fd/2 /root/dev/stderr

# The kernel loads further modules itself, through the host's modprobe.
version=$(uname -r)
mkdir -p "/root/lib/modules/$version"
mount --bind "/root$(cat /request/module-tree)" "/root/lib/modules/$version"

if [ -e /request/out ]; then
    out=/root$(cat /request/out)
    mkdir -p "$out"
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 out "$out"
fi

echo "init: handing over"
ip link set lo up
hostname guest
mkdir /root/run/xtask
cp /request/request.json /root/run/xtask/request.json
supervisor=$(cat /request/supervisor)
exec switch_root /root "$supervisor" guest-supervise /run/xtask/request.json
