"""The models that embedders and classifiers in other processes serve: one of each, or two during a change."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from services.clients.model_choice import ModelClassifier, ModelEmbedder, served_models
from services.contract.errors import FailedPrecondition, FashionError, InvalidInput, Unavailable
from services.contract.protocols import CandidateStore, Classifier, Embedder, EmbeddingSpace
from services.contract.values import ModelInfo
from services.search.catalogue.generations import GenerationRecord, Generations
from services.search.reindex.reindexer import no_next_model
from services.search.reindex.served import ModelParts, NextModel

_log = structlog.stdlib.get_logger(__name__)

_POLL_S: Final = 1.0
# A connection to a service that was not there is tried again within 5 s.
_RECONNECT_S: Final = 6.0
_RETRY_S: Final = 0.25


class RemoteModels:
    """Fulfils `ModelSource` by embedders and classifiers at targets."""

    live_source: None = None

    def __init__(
        self, embedders: Sequence[Embedder], classifiers: Sequence[Classifier], candidate_store: CandidateStore
    ) -> None:
        """Takes the ways to the services, those of every day first, and where candidates meet them."""
        self._embedders = embedders
        self._classifiers = classifiers
        self._candidate_store = candidate_store

    async def live_space(self, generations: Generations, timeout_s: float) -> EmbeddingSpace:
        """Finds the model to begin with: the live one, or in a catalogue that is not in a change the embedder's own.

        While there are two generations, no other model than the live one is begun with. Photographs are refused until
        an embedder serves it.

        Args:
            generations: of the catalogue.
            timeout_s: maximum wait for an embedder, in seconds.

        Raises:
            TimeoutError: no embedder has described its model in time; the text says why.
        """
        live, changing = generations.live, generations.other is not None
        until, why = time.monotonic() + timeout_s, ""
        while time.monotonic() < until:
            models = await served_models(self._embedders)
            for model in models:
                if isinstance(model, ModelInfo) and (live is None or model.model_version == live.model_version):
                    return model
            first = models[0]
            if isinstance(first, ModelInfo):
                if live is None or not changing:
                    return first
                _log.warning("no embedder serves the live model", model_version=live.model_version)
                return live
            why = f" ({first.message})"
            _log.info("waiting for the embedder", why=first.message)
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"The embedder has not described its model within {timeout_s:g} s{why}.")

    def parts(self, space: EmbeddingSpace) -> ModelParts:
        """Returns what serves a model, whichever service that is."""
        embedder = ModelEmbedder(self._embedders, space.model_version)
        return ModelParts(space, embedder, ModelClassifier(self._classifiers), self._candidate_store)

    async def find_next(self, bundle: str, live_version: str) -> NextModel:
        """Finds the model to change to; see `ModelSource.find_next`."""
        if bundle:
            raise InvalidInput(
                "Search loads no bundle here: give it to a second embedder, at SEARCH_NEXT_EMBEDDER_TARGET.",
                reason="BUNDLE_NOT_ALLOWED",
                metadata={"field": "bundle"},
            )
        for model in await _models_of(self._embedders):
            if isinstance(model, ModelInfo) and model.model_version != live_version:
                return NextModel(model.model_version, model.dimension, None)
        raise no_next_model()

    @asynccontextmanager
    async def opened(self, record: GenerationRecord) -> AsyncIterator[ModelParts]:
        """Has a model served; see `ModelSource.opened`."""
        yield self.parts(record)

    async def now_live(self, parts: ModelParts) -> None:
        """Does nothing: the services answer for themselves."""

    async def ended(self, model_version: str) -> None:
        """Does nothing: the services hold their models."""

    async def check_settled(self, model_version: str) -> None:
        """Checks that the embedders of every day serve a model; see `ModelSource.check_settled`."""
        (model,) = await _models_of(self._embedders[:1])
        if isinstance(model, ModelInfo) and model.model_version == model_version:
            return
        what = f"serves {model.model_version}" if isinstance(model, ModelInfo) else "does not answer"
        raise FailedPrecondition(
            f"The embedder at SEARCH_EMBEDDER_TARGET {what}, and the live model is {model_version}. Give it the bundle "
            "of the live model first, or end with --force.",
            reason="MODEL_NOT_SETTLED",
            metadata={"model_version": model_version},
        )


async def _models_of(embedders: Sequence[Embedder]) -> list[ModelInfo | FashionError]:
    """Asks embedders for their models, and for a while again where one does not answer: it may have just started."""
    until = time.monotonic() + _RECONNECT_S
    while True:
        models = await served_models(embedders)
        if time.monotonic() >= until or not any(isinstance(each, Unavailable) for each in models):
            return models
        await asyncio.sleep(_RETRY_S)
