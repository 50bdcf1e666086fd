"""What this process may use of the machine, and for whom it runs."""

from __future__ import annotations

import getpass
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

IS_FORKED = sys.platform != "darwin"
"""Libraries of macOS do not survive a fork: there, each process imports by itself."""
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
FILES_V1, FILES_V2 = ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)
"""Where a group says how much time in how long it may use, in microseconds."""


def usable_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Count the cores that this process may use, at least 1.

    A batch system or ``taskset`` binds a process to some of the cores; a container
    gives it a share of their time, by its control groups: a file names those of this
    process, a line ``number:controllers:/path`` each.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Linux
        cores = os.cpu_count() or 1
    limits = [cores, *map(math.ceil, _quotas(cgroups, membership))]
    return max(1, min(limits))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """Cores that each enclosing control group allows, where it limits them."""
    for line in _read(membership).splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers
        place = root / group.lstrip("/")
        # Version 2 has all in one file, ``max 100000`` or ``150000 100000``.
        names = FILES_V1 if controllers else FILES_V2
        for folder in (place, *place.parents):
            with suppress(ValueError):
                words = " ".join(_read(folder / name) for name in names).split()
                quota, period = map(int, words)
                if quota > 0 and period > 0:
                    yield quota / period
            if folder == root:
                break


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def user_name() -> str:
    """Name of the user; the number of an account without one, as containers have."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
