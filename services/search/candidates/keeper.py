"""Keeps the published candidates up with the catalogue: computes a derived type's again once it has changed enough."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.contract.embedding import EmbeddingSpace
from services.contract.errors import Unavailable
from services.contract.values import CandidateSet, CandidateStore
from services.search.candidates.clusters import Candidate, candidate_set, candidates_of
from services.search.candidates.file import CandidateFile, KeptType
from services.search.catalogue.products import Product
from services.search.indexes.base import Index, TypeMembers
from services.search.writes.writer import Change

# Computing takes so large a share of the time in the long run, and may take so much at once, in seconds: a write is
# followed at once, while a large ingest, which makes nearly all types due all the time, keeps the processors.
_SHARE_OF_TIME: Final = 0.05
_AT_ONCE_S: Final = 1.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """When candidates are computed and published.

    Attributes:
        changed_share: a derived type's candidates are computed again once so large a share of its products was created,
            changed or deleted since; always where a candidate's product changed, or a kind was not there before. The
            means of many products hardly move with a few.
        period_s: how often to look whether the store still holds them, and to try again where that failed, in seconds.
        pause_s: at least so long between two publications, in seconds; 0 publishes with every write that needs it,
            which is for a store in this process. Longer in either case where computing would take more than a twentieth
            of the time.
    """

    changed_share: float = 0.1
    period_s: float = 5.0
    pause_s: float = 2.0


@dataclass(slots=True)
class _Type:
    """A derived type's candidates, how many products they were computed of, and which have changed since."""

    candidates: tuple[Candidate, ...] = ()
    count: int = 0
    changed: set[str] = field(default_factory=set)
    due: bool = True


class CandidateKeeper:
    """The candidates of a catalogue, by derived type. May be told of changes in one thread and compute in another."""

    def __init__(
        self, index: Index, space: EmbeddingSpace, changed_share: float, file: CandidateFile | None = None
    ) -> None:
        """Knows of no products yet: `begin` names the derived types that are there.

        Args:
            index: whose products they are computed of.
            space: the model of the embeddings.
            changed_share: see `CandidateSettings`.
            file: where they are kept between starts; None keeps them nowhere.
        """
        self._index = index
        self._file = file
        self._space = space
        self._changed_share = changed_share
        self._lock = threading.Lock()
        self._types: dict[str, _Type] = {}
        # Of which state of the catalogue the file is.
        self._kept: int | None = None

    @property
    def index_version(self) -> int:
        """Of the catalogue as it is."""
        return self._index.facts().index_version

    def begin(self, derived_types: Iterable[str]) -> None:
        """Forgets everything, and has the candidates of these derived types computed, but for those that were kept."""
        labels = list(derived_types)
        version = self.index_version
        kept = self._file.load(version) if self._file is not None else None
        if kept is None or not kept.keys() >= set(labels):
            kept = {}
        else:
            self._kept = version
        with self._lock:
            self._types = {
                label: _Type(each.candidates, each.count, set(each.changed), due=False) for label, each in kept.items()
            } | {label: _Type() for label in labels if label not in kept}

    def keep(self) -> None:
        """Keeps the candidates for the next start, where nothing is due and they are not in the file already.

        Meant for a quiet moment, or the end: a write of which this has yet to be told would be taken for one that it
        knows of.
        """
        version = self.index_version
        if self._file is None or version == self._kept:
            return
        with self._lock:
            if any(known.due for known in self._types.values()):
                return
            types = {
                label: KeptType(known.candidates, known.count, frozenset(known.changed))
                for label, known in self._types.items()
            }
        self._file.save(types, version)
        self._kept = version

    def note(self, changes: Sequence[Change]) -> bool:
        """Takes note of changes that the index has taken over; tells whether any candidates have to be computed."""
        with self._lock:
            for change in changes:
                for product in {_kind(each): each for each in (change.before, change.after) if each}.values():
                    self._note(product)
            return any(each.due for each in self._types.values())

    def _note(self, product: Product) -> None:
        known = self._types.setdefault(product.derived_type, _Type())
        known.changed.add(product.id)
        known.due = (
            known.due
            or any(product.id == candidate.product_id for candidate in known.candidates)
            or all(product.sub_category != candidate.sub_category for candidate in known.candidates)
            or len(known.changed) >= self._changed_share * known.count
        )

    def compute(self) -> CandidateSet:
        """Computes what is due, and returns all candidates."""
        with self._lock:
            due = [label for label, known in self._types.items() if known.due]
            for label in due:
                # What is noted from here on belongs to the next time.
                self._types[label].due = False
                self._types[label].changed = set()
        try:
            computed = {label: self._candidates(self._index.members(label)) for label in due}
        except BaseException:
            with self._lock:
                for label in due:
                    self._types[label].due = True
            raise
        with self._lock:
            for label, (candidates, count) in computed.items():
                known = self._types[label]
                known.candidates, known.count = candidates, count
                if not count and not known.due:
                    del self._types[label]
            return candidate_set(
                self._space.model_version,
                self._space.dimension,
                (candidate for known in self._types.values() for candidate in known.candidates),
            )

    def _candidates(self, members: TypeMembers) -> tuple[tuple[Candidate, ...], int]:
        products = members.products
        found = candidates_of(
            members.embeddings,
            [product.id for product in products],
            [product.sub_category for product in products],
            [product.gender for product in products],
            [product.article_type for product in products],
        )
        return tuple(found), len(products)


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
        self, keeper: CandidateKeeper, store: CandidateStore, space: EmbeddingSpace, settings: CandidateSettings
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


def _kind(product: Product) -> tuple[str, str]:
    return product.derived_type, product.sub_category
