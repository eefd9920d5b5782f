"""Which devices hold views into the kernel instead of data."""

import os
from pathlib import Path

_KERNEL_TYPES = frozenset(
    b"autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts efivarfs fusectl nsfs proc "
    b"pstore rpc_pipefs securityfs selinuxfs smackfs sysfs tracefs".split()
)


def kernel_devices(table: bytes | None = None) -> frozenset[int]:
    """Return the device numbers (``st_dev``) of mounted kernel file systems (proc, sysfs...).

    Args:
        table: Text in the format of ``/proc/self/mountinfo``; None reads that file, and where there
            is none (another operating system, no ``/proc``) there are no such devices.
    """
    if table is None:
        try:
            table = Path("/proc/self/mountinfo").read_bytes()
        except OSError:
            return frozenset()
    return frozenset(_devices(table))


def _devices(table: bytes) -> list[int]:
    devices: list[int] = []
    for line in table.splitlines():
        before, _, after = line.partition(b" - ")
        if after.split(b" ", 1)[0] in _KERNEL_TYPES:
            major, _, minor = before.split(b" ", 3)[2].partition(b":")
            devices.append(os.makedev(int(major), int(minor)))
    return devices
