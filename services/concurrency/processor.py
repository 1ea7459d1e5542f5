"""The processors that this process may use, and their instructions."""

import math
import os
from pathlib import Path
from typing import Final

_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def available_processors(quota_file: Path = _CGROUP_QUOTA) -> int:
    """Returns how many processors this process may use, within the limit of its container.

    Args:
        quota_file: cpu.max of cgroup v2, "QUOTA PERIOD" or "max PERIOD", in microseconds; may be absent.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        # Without cgroup v2 there is no container, or no Linux.
        return count
    return count if quota == "max" else max(1, min(count, math.ceil(int(quota) / int(period))))


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Returns the processor's flags in Linux, such as "avx2"; none on other systems."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
