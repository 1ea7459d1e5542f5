"""Publishes candidates when they are due, and again where the store has lost them."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.contract.errors import Unavailable
from services.contract.protocols import CandidateStore, EmbeddingSpace
from services.contract.values import CandidateSet
from services.search.candidates.keeper import CandidateKeeper
from services.search.writes.writer import Change

# Computing takes so large a share of the time in the long run, and may take so much at once, in seconds: a write is
# followed at once, while a large ingest, which makes nearly all types due all the time, keeps the processors.
_SHARE_OF_TIME: Final = 0.05
_AT_ONCE_S: Final = 1.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """When candidates are computed and published.

    Attributes:
        period_s: how often to check that the store still holds them, and to try again after a failure, in seconds.
        pause_s: minimum time between two publications, in seconds. 0 publishes with every write that needs it, which
            suits a store in this process. Either way the budget for computing candidates may make it longer.
    """

    period_s: float
    pause_s: float


class _Allowance:
    """Time that may be spent: so much at once, refilled at a share of the time that passes."""

    def __init__(self) -> None:
        self._left = _AT_ONCE_S
        self._seen = time.monotonic()

    def wait_s(self) -> float:
        """How long to wait until there is any left, in seconds; 0 where there is."""
        now = time.monotonic()
        self._left = min(_AT_ONCE_S, self._left + (now - self._seen) * _SHARE_OF_TIME)
        self._seen = now
        return max(0.0, -self._left / _SHARE_OF_TIME)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Takes off what is spent within, even more than there is."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._left -= time.monotonic() - began


class CandidatePublisher:
    """Publishes candidates when they are due, and again where the store has lost them.

    A store that does not answer is tried again; that never disturbs a write.
    """

    def __init__(
        self, keeper: CandidateKeeper, store: CandidateStore, space: EmbeddingSpace, settings: PublisherSettings
    ) -> None:
        """Takes what computes the candidates, where they go, the model that they are of, and when to publish."""
        self._keeper = keeper
        self._store = store
        self._space = space
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._computed: CandidateSet | None = None
        self._published: str | None = None
        self._trouble = False
        self._allowance = _Allowance()

    @property
    def published_version(self) -> str:
        """The version that was published last; "" where there are no candidates."""
        return self._published or ""

    def note(self, changes: Sequence[Change]) -> None:
        """Takes note of a write; fulfils `writing.ChangeListener`, in any thread."""
        if self._keeper.note(changes):
            self._loop.call_soon_threadsafe(self._due.set)

    async def begin(self, derived_types: Iterable[str]) -> None:
        """Computes and publishes the candidates of these derived types."""
        await asyncio.to_thread(self._keeper.begin, derived_types)
        self._due.set()
        await self.publish()

    async def after_write(self) -> None:
        """Publishes at once what a write has made due, where settings say so; otherwise `run` does, a little later."""
        at_once = self._settings.pause_s == 0 and self._allowance.wait_s() == 0
        # What `run` is publishing at this moment is waited for too.
        if at_once and (self._due.is_set() or self._turn.locked()):
            await self.publish()

    async def publish(self) -> bool:
        """Computes what is due and brings the store up to date.

        Returns:
            Whether the store holds the candidates now. Why it does not is logged, once until that changes.
        """
        async with self._turn:
            if self._due.is_set() or self._computed is None:
                self._due.clear()
                try:
                    with self._allowance.spending():
                        self._computed = await asyncio.to_thread(self._keeper.compute)
                except BaseException:
                    self._due.set()
                    raise
            return await self._bring(self._computed)

    async def _bring(self, candidates: CandidateSet) -> bool:
        try:
            held = await self._store.version(self._space.model_version)
            # An empty catalogue takes the place of candidates that are there, but is nothing to begin with.
            wanted = bool(candidates.product_ids) or held is not None
            if wanted and held != candidates.version:
                await self._store.publish(candidates)
                _log.info(
                    "candidates published",
                    candidates_version=candidates.version,
                    count=len(candidates.product_ids),
                    lost=held is None and self._published == candidates.version,
                )
        except Unavailable as error:
            if not self._trouble:
                _log.warning("candidates cannot be published; they will be tried again", why=error.message)
            self._trouble = True
            return False
        if self._trouble:
            _log.info("candidates can be published again")
        self._trouble = False
        self._published = candidates.version if candidates.product_ids else None
        return True

    async def run(self) -> None:
        """Publishes what is due, looks after what is published, and keeps it, until it is cancelled."""
        while True:
            quiet = self._keeper.index_version
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.period_s):
                    await self._due.wait()
            try:
                held = await self.publish()
                if self._keeper.index_version == quiet:
                    await asyncio.to_thread(self._keeper.keep)
            except Exception:
                _log.exception("candidates could not be computed")
                held = False
            pause_s = max(self._settings.pause_s, self._allowance.wait_s())
            await asyncio.sleep(pause_s if held else max(pause_s, self._settings.period_s))
