"""What makes the start of a process quick, once this module is imported; each `__main__` does that before all else."""

import gc
import sys
from typing import Final

from services.concurrency.spinning import wait_passively

# Libraries import these wherever they are installed, and nothing here uses what they do with them: structlog its
# coloured tracebacks, redis-py its metrics. They take a seventh of all imports.
_UNUSED: Final = ("rich", "opentelemetry.sdk.metrics")
# A start makes some 200,000 objects that stay. At Python's own 700, looking through them again and again takes up to a
# quarter of the start.
_STARTING: Final = 50_000
# How many objects come before a collection, and how many collections of younger objects before one of older ones. Only
# the last is not Python's own: a full collection over a catalogue of 40,000 products stops every call for 0.1 s, and
# frees nothing; nor does one over the products that later writes bring.
_SERVING: Final = (700, 10, 1000)

wait_passively()
gc.set_threshold(_STARTING)
for _name in _UNUSED:
    # Python then says that there is no such module.
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]


def imported() -> None:
    """Lets everything be imported again."""
    for name in _UNUSED:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]


def serving() -> None:
    """Keeps garbage collections away from all objects there are, and full ones rare."""
    gc.freeze()
    gc.set_threshold(*_SERVING)
