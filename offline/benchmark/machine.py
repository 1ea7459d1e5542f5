"""The machine of a benchmark, and whether it was busy."""

import os
from dataclasses import dataclass
from pathlib import Path

from services.concurrency.processor import available_processors, processor_flags

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
# In cores: a shell and a benchmark that waits stay below it.
_IDLE_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a benchmark.

    Attributes:
        processor: the name of its processor.
        processors: the number that this process may use.
        flags: the instruction sets that matter for inference.
        load: mean number of running processes over the last minute.
    """

    processor: str
    processors: int
    flags: tuple[str, ...]
    load: float

    @property
    def busy(self) -> bool:
        """Whether something else ran."""
        return self.load > _IDLE_LOAD

    @classmethod
    def this(cls) -> "Machine":
        """This machine, now."""
        name = "unknown"
        cpuinfo = Path("/proc/cpuinfo")
        if cpuinfo.is_file():
            facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
            facts = {key.strip(): value.strip() for key, value in facts.items()}
            name = facts.get("model name", name)
        have = processor_flags()
        flags = tuple(flag for flag in _FLAGS if flag in have)
        return cls(name, available_processors(), flags, os.getloadavg()[0])
