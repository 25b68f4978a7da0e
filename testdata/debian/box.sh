#!/bin/sh
# box.sh NAME DIR: a copy of this Debian that runs systemd as its first process, with processes, mounts, cgroups and a network of its
# own. What it writes lies in memory, and is gone with it. DIR/share is its /mnt. It needs root, and dies with this process.
set -eu
name=$1 dir=$2

if [ $$ != 1 ]; then
	# The cgroups that systemd makes go below one of ours: of v2, or of v1 beside v2.
	for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
		if [ -e $tree/cgroup.procs ]; then
			mkdir "$tree/$name"
			echo $$ >"$tree/$name/cgroup.procs"
		fi
	done
	exec unshare --mount --pid --uts --ipc --cgroup --net --fork --kill-child=KILL sh "$0" "$name" "$dir"
fi

mount --make-rprivate /
share=$dir/share
v1=$(test -d /sys/fs/cgroup/systemd && echo yes || echo no)
mkdir -p "$dir/memory" "$share"
mount -t tmpfs -o size=4g box "$dir/memory"
mkdir "$dir/memory/upper" "$dir/memory/work" "$dir/memory/root"
root=$dir/memory/root
mount -t overlay -o "lowerdir=/,upperdir=$dir/memory/upper,workdir=$dir/memory/work" box "$root"
mount --bind "$share" "$root/mnt"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
if [ "$v1" = yes ]; then
	mount -t tmpfs cgroup "$root/sys/fs/cgroup"
	mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
	mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
else
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
fi
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/old"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
# What images of containers have: packages may start nothing, and bring no documentation.
rm -f "$root/usr/sbin/policy-rc.d" "$root"/etc/dpkg/dpkg.cfg.d/*
cd "$root"
pivot_root . old
umount --lazy /old
rmdir /old
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 /lib/systemd/systemd --unit=basic.target --show-status=no
