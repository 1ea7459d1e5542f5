"""What files hold, read again when they change."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from services.serving.settings import SettingsError

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

_CHECK_S: Final = 1.0

_Signature = tuple[tuple[int, int, int], ...]


class Watched(Generic[T]):
    """A value that is read from files, and again when one of them changes; any thread may ask for it.

    What was read last counts on while the files cannot be read, such as between the writes of two that belong together.
    """

    def __init__(
        self, files: Sequence[Path], read: Callable[[], T], *, variable: str, check_s: float = _CHECK_S
    ) -> None:
        """Reads the value.

        Args:
            files: the files; links are followed, as Kubernetes mounts secrets.
            read: reads the value from them; raises OSError or ValueError where they are bad.
            variable: names the setting of the files in the error and in the log.
            check_s: minimum time between two looks at the files, in seconds.

        Raises:
            SettingsError: the files cannot be read.
        """
        self._files = files
        self._read = read
        self._variable = variable
        self._check_s = check_s
        self._lock = threading.Lock()
        self._checked = time.monotonic()
        self._failed: _Signature | None = None
        try:
            self._signature = self._look()
            self._value = read()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable}: {_line(error)}") from None

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
