"""The model that a replica answers by: the one that the writer names, whose collection of Milvus it reads."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.clients.model_choice import ModelClassifier, ModelEmbedder, served_models
from services.clients.search import SearchClient
from services.concurrency.users import Users
from services.concurrency.workers import Workers
from services.contract.errors import FashionError, Upstream
from services.contract.protocols import Classifier, Embedder
from services.contract.values import ModelInfo
from services.search.indexes.milvus.follower import MilvusFollower
from services.search.indexes.milvus.store import MilvusStore
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarFinder
from services.search.query.retrieval import Inventory
from services.search.reindex.served import DRAIN_S
from services.search.settings import SearchSettings

_log = structlog.stdlib.get_logger(__name__)

_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Space:
    model_version: str
    dimension: int


@dataclass(frozen=True, slots=True, eq=False)
class FollowedModel:
    """A model with its collection of Milvus, and what answers from it.

    Attributes:
        model_version: of its bundle.
        index: follows the collection.
        finder: answers queries.
    """

    model_version: str
    index: MilvusFollower
    finder: SimilarFinder
    _users: Users = field(default_factory=Users)

    @contextmanager
    def used(self) -> Iterator["FollowedModel"]:
        """Marks that a query is answered from it."""
        with self._users.counted():
            yield self

    async def close(self) -> None:
        """Closes its index, once the queries that are answered from it have ended; it does not wait for ever."""
        try:
            await self._users.drained(DRAIN_S)
        finally:
            await asyncio.to_thread(self.index.close)


class ModelFollower:
    """Keeps a replica at the model of the writer.

    Where the writer changes to another model, its collection is opened beside the former one. Queries are answered from
    one or the other, whole; the writer writes to both until the change is ended.

    Attributes:
        unsure_below: the confidence below which recognition counts as unsure, as the writer has measured it.
    """

    def __init__(
        self,
        settings: SearchSettings,
        embedders: Sequence[Embedder],
        classifiers: Sequence[Classifier],
        preferences: PreferenceStore,
        writer: SearchClient,
        workers: Workers,
    ) -> None:
        """Takes the parts.

        Args:
            settings: of search.
            embedders: at least one, those of every day first.
            classifiers: likewise.
            preferences: the dislikes.
            writer: the search that has the catalogue.
            workers: the threads in which the index is read.
        """
        self._settings = settings
        self._embedders = embedders
        self._classifiers = classifiers
        self._preferences = preferences
        self._writer = writer
        self._workers = workers
        self._live: FollowedModel | None = None
        self.unsure_below = 0.0

    @property
    def live(self) -> FollowedModel:
        """What queries are answered from; each takes it once, and keeps it to its end."""
        assert self._live is not None, "It is there once `begin` has returned."
        return self._live

    async def begin(self) -> None:
        """Opens the model that the writer names; where it does not answer, one that an embedder serves.

        Raises:
            TimeoutError: neither the writer nor an embedder has named a model in time.
            Upstream: INDEX_UNAVAILABLE: Milvus does not answer in time, or has no collection of the model;
                INDEX_INCOMPLETE: there is no finished write.
            FailedPrecondition: INDEX_FOREIGN.
        """
        until = time.monotonic() + self._settings.start_timeout_s
        while True:
            patience = f"{self._settings.start_timeout_s:g} s"
            why: Exception = TimeoutError(f"Neither search nor an embedder has named its model within {patience}.")
            for model_version in await self._named():
                try:
                    self._live = await self._opened(model_version)
                    return
                except Upstream as error:
                    why = error
            if time.monotonic() >= until:
                raise why
            _log.info("waiting for the collection of the model", why=str(why))
            await asyncio.sleep(_PAUSE_S)

    async def follow(self) -> None:
        """Asks the writer for its model for ever, and changes over to it."""
        while True:
            try:
                facts = await self._writer.get_index()
            except FashionError as error:
                _log.info("the writer of the catalogue does not answer", why=error.message)
            else:
                if facts.model_version != self.live.model_version:
                    await self._change_to(facts.model_version)
                if facts.model_version == self.live.model_version:
                    self.unsure_below = facts.unsure_below
            await asyncio.sleep(self._settings.candidates_period_s)

    async def close(self) -> None:
        """Closes the index; see `FollowedModel.close`."""
        if self._live is not None:
            await self._live.close()

    async def _named(self) -> list[str]:
        """Returns the versions of models to begin with, the best first."""
        try:
            return [(await self._writer.get_index()).model_version]
        except FashionError as error:
            _log.info("the writer of the catalogue does not answer", why=error.message)
        return [each.model_version for each in await served_models(self._embedders) if isinstance(each, ModelInfo)]

    async def _change_to(self, model_version: str) -> None:
        try:
            opened = await self._opened(model_version)
        except FashionError as error:
            _log.warning("the model of the writer cannot be read yet", model_version=model_version, why=error.message)
            return
        former, self._live = self.live, opened
        _log.info("changed over to the model of the writer", model_version=model_version)
        await former.close()

    async def _opened(self, model_version: str) -> FollowedModel:
        # The collection knows the dimension: the writer answers by a model that no embedder serves, too.
        store = MilvusStore(self._settings.milvus(), 0, model_version)
        index = MilvusFollower(store)
        try:
            await asyncio.to_thread(index.begin)
        except BaseException:
            await asyncio.to_thread(index.close)
            raise
        facts = await asyncio.to_thread(index.facts)
        _log.info(
            "index read",
            products=facts.product_count,
            index_version=facts.index_version,
            model_version=model_version,
        )
        finder = SimilarFinder(
            Inventory(index, model_version),
            _Space(model_version, store.dimension),
            ModelEmbedder(self._embedders, model_version),
            ModelClassifier(self._classifiers),
            self._preferences,
            self._workers,
            self._settings.classifier_use(),
            lambda: self.unsure_below,
        )
        return FollowedModel(model_version, index, finder)
