"""The disk of a data directory: who may read it, and what it refuses."""

import errno
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric

from services.bundle.durable import make_folder
from services.concurrency.metrics import CurrentMetrics
from services.contract.errors import Overloaded, Unavailable

_logger = logging.getLogger(__name__)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE_FULL: Final = frozenset({sqlite3.SQLITE_FULL})
# With less room than this, a disk counts as full.
_NO_ROOM_BYTES: Final = 64 * 1024

_REFUSED: Final = Counter(
    "fashion_catalogue_refusals", "Writes that the disk of the catalogue has refused, by their reason.", ("reason",)
)
# An alert sees the first refusal only where it has seen none before.
_REFUSALS: Final = {reason: _REFUSED.labels(reason) for reason in ("STORAGE_FULL", "STORAGE_UNAVAILABLE")}

_current = CurrentMetrics()


def disk_metrics(directory: Path) -> AbstractContextManager[None]:
    """Tells how much room a data directory has, for as long as the context lasts."""

    def metrics() -> Iterator[Metric]:
        family = GaugeMetricFamily("fashion_data_free_bytes", "Room on the disk of the data directory.")
        try:
            family.add_metric((), shutil.disk_usage(directory).free)
        except OSError as error:
            _logger.warning("the room of %s cannot be read: %s", directory, error)
        yield family

    return _current.of(metrics)


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turns what the disk of a data directory refuses into an error that says what to do.

    Raises:
        Overloaded: STORAGE_FULL.
        Unavailable: STORAGE_UNAVAILABLE: the disk takes no writes.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        full = getattr(error, "errno", None) in _FULL or getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL
        _logger.error("a write to %s failed: %s", directory, error)
        # SQLite tells some full disks as other errors.
        if full or shutil.disk_usage(directory).free < _NO_ROOM_BYTES:
            _REFUSALS["STORAGE_FULL"].inc()
            raise Overloaded(
                "The disk of the catalogue is full, so nothing was written; make room, then send it again.",
                reason="STORAGE_FULL",
            ) from error
        _REFUSALS["STORAGE_UNAVAILABLE"].inc()
        raise Unavailable(
            "The disk of the catalogue takes no writes, so nothing was written; look into the log of search.",
            reason="STORAGE_UNAVAILABLE",
        ) from error


def make_private(directory: Path) -> None:
    """Makes a data directory, for this user alone; closes one that everybody on this machine can read."""
    make_folder(directory, 0o700)
    if directory.stat().st_mode & 0o007:
        try:
            directory.chmod(0o700)
        except PermissionError:
            _logger.warning("every user of this machine can read %s, which belongs to another user", directory)
        else:
            _logger.warning("every user of this machine could read %s; now its owner alone can", directory)
