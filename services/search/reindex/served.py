"""A generation with all that answers from it, and the ways to the models."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from services.concurrency.background import in_background
from services.concurrency.users import Users
from services.contract.protocols import CandidateStore, Classifier, Embedder, EmbeddingSpace
from services.search.candidates.doubt_meter import DoubtMeter
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher
from services.search.catalogue.generations import GenerationRecord
from services.search.query.find_similar import SimilarFinder
from services.search.writes.generation import Generation
from services.search.writes.snapshots import Restored

_log = structlog.stdlib.get_logger(__name__)

# How long queries may take that are still answered from a generation that goes, in seconds.
DRAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class ModelParts:
    """What a model needs to be served.

    Attributes:
        space: the model.
        embedder: serves it.
        classifier: of the same bundle.
        candidate_store: takes the candidates that the classifier follows.
    """

    space: EmbeddingSpace
    embedder: Embedder
    classifier: Classifier
    candidate_store: CandidateStore


@dataclass(frozen=True, slots=True)
class NextModel:
    """A model that can be changed to.

    Attributes:
        model_version: of its bundle.
        dimension: floats in an embedding.
        source: its bundle, as this process finds it again; None where an embedder at a target serves it.
    """

    model_version: str
    dimension: int
    source: str | None


class ModelSource(Protocol):
    """Finds models, in this process or at targets."""

    async def find_next(self, bundle: str, live_version: str) -> NextModel:
        """Finds the model to change to.

        Args:
            bundle: the folder of its bundle; "" where an embedder serves it.
            live_version: the live model.

        Raises:
            InvalidInput: BUNDLE_NOT_ALLOWED, BUNDLE_INVALID.
            NotFound: BUNDLE_NOT_FOUND.
            FailedPrecondition: NO_NEXT_MODEL.
            Upstream: EMBEDDER_UNAVAILABLE.
        """
        ...

    def opened(self, record: GenerationRecord) -> AbstractAsyncContextManager[ModelParts]:
        """Has a model served for as long as the context lasts."""
        ...

    @property
    def live_source(self) -> str | None:
        """The bundle that was live at the start, as it is found again, where this process loads it."""
        ...

    async def now_live(self, parts: ModelParts) -> None:
        """Takes note of a switch: whoever asks this process from outside is answered by this model."""
        ...

    async def ended(self, model_version: str) -> None:
        """Takes note that a generation is closed for good: nobody asks for its model any more."""
        ...

    async def check_settled(self, model_version: str) -> None:
        """Checks that a start would find this model again.

        Raises:
            FailedPrecondition: MODEL_NOT_SETTLED.
        """
        ...


@dataclass(slots=True, eq=False)
class ServedGeneration:
    """A generation and all that answers from it.

    Attributes:
        parts: its model.
        generation: what writes go to.
        finder: answers queries.
        keeper: computes its candidates.
        publisher: publishes them.
        meter: measures doubt.
        on_failure: called with a sentence if a background task ends that never should.
    """

    parts: ModelParts
    generation: Generation
    finder: SimilarFinder
    keeper: CandidateKeeper
    publisher: CandidatePublisher
    meter: DoubtMeter
    on_failure: Callable[[str], None]
    _users: Users = field(default_factory=Users)
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def model_version(self) -> str:
        """The version of its model."""
        return self.generation.model_version

    @contextmanager
    def used(self) -> Iterator["ServedGeneration"]:
        """Marks that a query is answered from it."""
        with self._users.counted():
            yield self

    async def drained(self) -> None:
        """Waits for the queries that are answered from it, but not for ever."""
        await self._users.drained(DRAIN_S)

    async def begin(self, restored: Restored | None = None) -> None:
        """Publishes candidates and measures doubt, from now on; its index is loaded.

        Args:
            restored: what has changed since the snapshot that it was loaded from; None for no snapshot.
        """
        types = await asyncio.to_thread(self.generation.index.searchable_types)
        await self.publisher.begin(types, restored)
        await asyncio.to_thread(self.meter.begin)
        # From here on nothing fails, so that what has failed can begin anew. These run on the way out, once no task
        # writes any more.
        self._resources.push_async_callback(asyncio.to_thread, self.keeper.keep)
        self._resources.push_async_callback(asyncio.to_thread, self.meter.keep)
        for name, work in (("publishing candidates", self.publisher.run()), ("measuring doubt", self.meter.run())):
            await self._resources.enter_async_context(in_background(work, self._ended(name)))

    async def close(self) -> None:
        """Ends its tasks, then closes its index."""
        try:
            await self._resources.aclose()
        finally:
            await asyncio.to_thread(self.generation.index.close)

    def _ended(self, name: str) -> Callable[[BaseException | None], None]:
        def ended(error: BaseException | None) -> None:
            _log.error(f"{name} has ended", exc_info=error)
            self.on_failure(f"{name} has ended: {error!r}")

        return ended


@dataclass(slots=True)
class ServedGenerations:
    """The generation that queries are answered from; each query takes it once, and keeps it to its end."""

    live: ServedGeneration
