"""Publishes candidates when they are due, and again where the store has lost them."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Final

import structlog

from services.contract.errors import Unavailable
from services.contract.protocols import CandidateStore, EmbeddingSpace
from services.contract.values import CandidateSet
from services.search.candidates.keeper import CandidateKeeper
from services.search.writes.generation import Change
from services.search.writes.snapshots import Restored

# Budget for computing candidates: at most 5 % of the time on average, in bursts of at most 1 s. So a single write is
# followed at once, while a large ingest, which makes nearly all types due all the time, keeps the processors.
_MAX_SHARE_OF_TIME: Final = 0.05
_MAX_BURST_S: Final = 1.0

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


class _Budget:
    """A budget of time, refilled at a share of the time that passes, up to one burst."""

    def __init__(self) -> None:
        self._left = _MAX_BURST_S
        self._refilled = time.monotonic()

    def wait_s(self) -> float:
        """Returns how long to wait until some budget is left, in seconds; 0 if there is some now."""
        now = time.monotonic()
        self._left = min(_MAX_BURST_S, self._left + (now - self._refilled) * _MAX_SHARE_OF_TIME)
        self._refilled = now
        return max(0.0, -self._left / _MAX_SHARE_OF_TIME)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Subtracts the duration of the block, even if that overdraws the budget."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._left -= time.monotonic() - start


class CandidatePublisher:
    """Publishes candidates when they are due, and again where the store has lost them.

    A store that does not answer is tried again, and never disturbs a write.
    """

    def __init__(
        self, keeper: CandidateKeeper, store: CandidateStore, space: EmbeddingSpace, settings: PublisherSettings
    ) -> None:
        """Takes the source of candidates, the store, the model of their embeddings, and when to publish."""
        self._keeper = keeper
        self._store = store
        self._space = space
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._computed: CandidateSet | None = None
        self._computing: asyncio.Task[CandidateSet] | None = None
        self._published: str | None = None
        self._failing = False
        self._budget = _Budget()

    @property
    def published_version(self) -> str:
        """The version that was published last; "" if there are no candidates."""
        return self._published or ""

    def note(self, changes: Sequence[Change]) -> None:
        """Notes the changes of a write; may be called in any thread."""
        if self._keeper.note(changes):
            self._loop.call_soon_threadsafe(self._due.set)

    async def begin(self, derived_types: Iterable[str], restored: Restored | None = None) -> None:
        """Computes and publishes the candidates of these derived types; see `CandidateKeeper.begin`."""
        await asyncio.to_thread(self._keeper.begin, derived_types, restored)
        self._due.set()
        await self.publish()

    async def after_write(self) -> None:
        """Publishes what a write has made due at once, if pause_s is 0; otherwise `run` does, a little later."""
        at_once = self._settings.pause_s == 0 and self._budget.wait_s() == 0
        # A publication that `run` has begun is awaited too.
        if at_once and (self._due.is_set() or self._publishing.locked()):
            await self.publish()

    async def publish(self) -> bool:
        """Computes what is due and brings the store up to date.

        Returns:
            Whether the store has the candidates now. The first of several failures is logged.
        """
        try:
            async with self._publishing:
                return await self._update_store(await self._up_to_date())
        except asyncio.CancelledError:
            # `run` publishes what is computed meanwhile.
            self._due.set()
            raise

    async def _up_to_date(self) -> CandidateSet:
        """Returns the candidates, and computes first what is due; a computation outlives a caller that leaves."""
        if self._computing is not None:
            await asyncio.wait({self._computing})
        if self._due.is_set() or self._computed is None:
            self._due.clear()
            # Not bound by the deadline of the call.
            self._computing = asyncio.create_task(self._compute(), context=Context())
            return await asyncio.shield(self._computing)
        return self._computed

    async def _compute(self) -> CandidateSet:
        def compute() -> tuple[CandidateSet, bool]:
            return self._keeper.compute(), self._keeper.due

        try:
            with self._budget.spending():
                candidates, due = await asyncio.to_thread(compute)
        except BaseException:
            self._due.set()
            raise
        finally:
            self._computing = None
        self._computed = candidates
        if due:
            self._due.set()
        return candidates

    async def _update_store(self, candidates: CandidateSet) -> bool:
        try:
            stored = await self._store.version(self._space.model_version)
            # An empty set replaces one that is in the store, but is not worth publishing first.
            wanted = bool(candidates.product_ids) or stored is not None
            if wanted and stored != candidates.version:
                # The classifier in this process prepares them at once, which takes processor time too.
                with self._budget.spending():
                    await self._store.publish(candidates)
                _log.info(
                    "candidates published",
                    candidates_version=candidates.version,
                    count=len(candidates.product_ids),
                    lost=stored is None and self._published == candidates.version,
                )
        except Unavailable as error:
            if not self._failing:
                _log.warning("candidates cannot be published; trying again", why=error.message)
            self._failing = True
            return False
        if self._failing:
            _log.info("candidates can be published again")
        self._failing = False
        self._published = candidates.version if candidates.product_ids else None
        return True

    async def run(self) -> None:
        """Publishes what is due, checks that the store still has it, and stores it between starts; until cancelled."""
        while True:
            version = self._keeper.index_version
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.period_s):
                    await self._due.wait()
            try:
                published = await self.publish()
                if self._keeper.index_version == version:
                    await asyncio.to_thread(self._keeper.keep)
            except Exception:
                _log.exception("candidates could not be computed")
                published = False
            pause_s = max(self._settings.pause_s, self._budget.wait_s())
            await asyncio.sleep(pause_s if published else max(pause_s, self._settings.period_s))
