"""What files hold, read again when they change."""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.serving.settings import SettingsError

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

_CHECK_S: Final = 1.0

_Signature = tuple[tuple[int, int, int], ...]


class _Reloads(Collector):
    """Tells what cannot be read again, of all watched files of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: weakref.WeakSet[Watched[Any]] = weakref.WeakSet()
        REGISTRY.register(self)

    def add(self, watched: "Watched[Any]") -> None:
        with self._lock:
            self._watched.add(watched)

    def all(self) -> "list[Watched[Any]]":
        with self._lock:
            return list(self._watched)

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "fashion_reload_failed",
            "1 while files have changed and cannot be read, so that what was read before counts on.",
            labels=("use",),
        )
        failed: dict[str, bool] = {}
        for each in self.all():
            failed[each.use] = failed.get(each.use, False) or each.fails
        for use, fails in failed.items():
            family.add_metric((use,), fails)
        yield family


_reloads: Final = _Reloads()


def look_at_all() -> None:
    """Reads all watched files that have changed, also those that no call has asked for since."""
    for each in _reloads.all():
        _ = each.value


class Watched(Generic[T]):
    """A value that is read from files, and again when one of them changes; any thread may ask for it.

    What was read last counts on while the files cannot be read, such as between the writes of two that belong together.

    Attributes:
        use: what the files are for.
    """

    def __init__(
        self, files: Sequence[Path], read: Callable[[], T], *, variable: str, use: str, check_s: float = _CHECK_S
    ) -> None:
        """Reads the value.

        Args:
            files: the files; links are followed, as Kubernetes mounts secrets.
            read: reads the value from them; raises OSError or ValueError where they are bad.
            variable: names the setting of the files in the error and in the log.
            use: what the files are for, in the metric of what cannot be read.
            check_s: minimum time between two looks at the files, in seconds.

        Raises:
            SettingsError: the files cannot be read.
        """
        self._files = files
        self._read = read
        self._variable = variable
        self.use: Final = use
        self._check_s = check_s
        self._lock = threading.Lock()
        self._checked = time.monotonic()
        self._failed: _Signature | None = None
        try:
            self._signature = self._look()
            self._value = read()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable}: {_line(error)}") from None
        _reloads.add(self)

    @property
    def fails(self) -> bool:
        """Whether the files have changed and cannot be read, so that what was read before counts on."""
        return self._failed is not None

    @property
    def value(self) -> T:
        """The value of now."""
        if time.monotonic() - self._checked >= self._check_s and self._lock.acquire(blocking=False):
            try:
                self._read_again()
            finally:
                self._lock.release()
        return self._value

    def _read_again(self) -> None:
        self._checked = time.monotonic()
        signature: _Signature = ()
        try:
            signature = self._look()
            if signature == self._signature:
                self._failed = None
                return
            self._value = self._read()
            # A file that changes while it is read has another signature at the next look.
            self._signature, self._failed = signature, None
            _log.info("files were read again", variable=self._variable)
        except (OSError, ValueError) as error:
            if signature != self._failed:
                self._failed = signature
                _log.error("files that have changed cannot be read", variable=self._variable, why=_line(error))

    def _look(self) -> _Signature:
        states = [file.stat() for file in self._files]
        return tuple((state.st_mtime_ns, state.st_ino, state.st_size) for state in states)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
