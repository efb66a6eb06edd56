#!/bin/bash
# A machine for tests: a real systemd as PID 1 of namespaces of its own, with
# its own network, over any root directory. Sourced, it gives
#
#   machine_start ROOT    boots ROOT; "/" stands for a throw-away copy of this host
#   inside COMMAND...     runs a command in the machine, as root, in /root; "${inside[@]}" is the same
#   put MODE PATH         makes a file in the machine, of standard input
#   beside COMMAND...     runs a command of this host in the machine's network
#   machine_stop          switches it off
#
# Mount ROOT in a mount namespace of your own if nothing is to be left behind.
# Set $machine_dir first: a directory for its console log and its copy of "/".

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	# PID 1 of the namespaces: dress the root, then become systemd.
	set -euo pipefail
	[ $$ = 1 ] || { echo "for machine_start only" >&2; exit 1; }
	r=$1
	if [ "$r" = / ]; then
		w=$2
		mount -t tmpfs none "$w"
		mkdir "$w/up" "$w/work" "$w/root"
		r=$w/root
		mount -t overlay overlay -o "lowerdir=/,upperdir=$w/up,workdir=$w/work" "$r"
		# Nothing of this host starts by itself.
		rm -rf "$r"/etc/systemd/system/*.wants "$r/usr/sbin/policy-rc.d"
		echo '127.0.0.1 localhost' >"$r/etc/hosts"
	fi
	mount --rbind "$r" "$r"
	mount -t proc proc "$r/proc"
	mount --bind "$r/proc/sys" "$r/proc/sys"
	mount -o remount,bind,ro "$r/proc/sys" # the kernel is the host's
	mount -t sysfs -o ro sysfs "$r/sys"
	mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
	for d in run tmp dev; do mount -t tmpfs none "$r/$d"; done
	chmod 1777 "$r/tmp"
	for n in null zero full random urandom tty; do touch "$r/dev/$n" && mount --bind /dev/$n "$r/dev/$n"; done
	mkdir "$r/dev/pts" "$r/dev/shm"
	chmod 1777 "$r/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$r/dev/pts"
	ln -s pts/ptmx "$r/dev/ptmx"
	ln -s /proc/self/fd "$r/dev/fd"
	ip link set lo up
	: >"$r/etc/machine-id"
	exec env -i container=nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$r" \
		/lib/systemd/systemd --unit=multi-user.target --log-target=journal
fi

machine_code=$(readlink -f "${BASH_SOURCE[0]}")

machine_start() {
	mkdir -p "$machine_dir/copy"
	unshare --fork --pid --mount --uts --ipc --net --cgroup --kill-child=KILL --propagation private -- \
		bash "$machine_code" "$1" "$machine_dir/copy" </dev/null >"$machine_dir/console" 2>&1 &
	machine_job=$!
	local i
	for ((i = 0; i < 300; i++)); do
		sleep 0.2
		kill -0 $machine_job 2>/dev/null || break
		machine_pid=$(cat /proc/$machine_job/task/$machine_job/children 2>/dev/null)
		machine_pid=${machine_pid% }
		inside=(nsenter --target "${machine_pid:-0}" --mount --uts --ipc --net --pid --cgroup --root --wdns=/root --
			env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
		case $(readlink "/proc/${machine_pid:-x}/exe") in */systemd/systemd) ;; *) continue ;; esac
		# Not all of multi-user.target: what of this host's is slow is not ours.
		inside systemctl is-active --quiet basic.target dbus.socket 2>/dev/null && return 0
	done
	echo "the machine does not come up" >&2
	tail -n 40 "$machine_dir/console" >&2
	inside systemctl list-jobs >&2 || true
	return 1
}

inside() { "${inside[@]}" "$@"; }

# put MODE PATH: a file in the machine, from standard input
put() { inside install -D -m "$1" /dev/stdin "$2"; }

beside() { nsenter --target "$machine_pid" --net -- "$@"; }

machine_stop() {
	[ -n "${machine_job:-}" ] || return 0
	kill -KILL "$machine_job" 2>/dev/null || true
	wait "$machine_job" 2>/dev/null || true
	machine_job=
}
