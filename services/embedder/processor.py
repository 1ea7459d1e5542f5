"""What the processor is: how much of it this process may use, and what it can compute with."""

import math
import os
from pathlib import Path
from typing import Final

_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def available_processors(quota_file: Path = _CGROUP_QUOTA) -> int:
    """Returns how many processors this process may use: a container's limit counts, not the machine's size.

    Args:
        quota_file: cpu.max of cgroup v2, "QUOTA PERIOD" or "max PERIOD", in microseconds; need not exist.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        # No cgroup v2: not a container, or not Linux.
        return count
    return count if quota == "max" else max(1, min(count, math.ceil(int(quota) / int(period))))


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Returns what the processor can compute with, such as "avx2", as Linux names it; nothing elsewhere."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
