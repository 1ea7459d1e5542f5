"""Chooses, of several embedders and classifiers, those that serve one model: two of each are there during a change."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from services.contract.errors import FashionError, ModelMismatch, Unavailable
from services.contract.protocols import Classifier, Embedder
from services.contract.values import Classification, Embedding, Garment, ModelInfo, Photograph

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


async def served_models(embedders: Sequence[Embedder]) -> list[ModelInfo | FashionError]:
    """Asks embedders for their models; returns the model or the error of each."""

    async def ask(embedder: Embedder) -> ModelInfo | FashionError:
        try:
            return await embedder.get_model()
        except FashionError as error:
            return error

    return list(await asyncio.gather(*map(ask, embedders)))


class ModelEmbedder:
    """Fulfils `contract.Embedder` by whichever of some embedders serves a model.

    The one that served it last is asked first. Where it fails or serves another model, one that serves it is looked
    for. Where none does, its answer or its error stands.
    """

    def __init__(self, embedders: Sequence[Embedder], model_version: str) -> None:
        """Takes the embedders, at least one, and the model."""
        self._embedders = embedders
        self._model_version = model_version
        self._chosen = embedders[0]

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph; see `Embedder.embed`."""
        return await self._ask(lambda embedder: embedder.embed(photograph), self._is_of_model)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; see `Embedder.batch_embed`."""
        return await self._ask(
            lambda embedder: embedder.batch_embed(photographs),
            lambda results: all(self._is_of_model(each) for each in results if isinstance(each, Embedding)),
        )

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph; see `Embedder.detect_garments`."""
        return await self._ask(lambda embedder: embedder.detect_garments(photograph), lambda _: True)

    async def get_model(self) -> ModelInfo:
        """Describes the model; see `Embedder.get_model`."""
        return await self._ask(lambda embedder: embedder.get_model(), self._is_of_model)

    def _is_of_model(self, answer: Embedding | ModelInfo) -> bool:
        return answer.model_version == self._model_version

    async def _ask(self, call: Callable[[Embedder], Awaitable[T]], right: Callable[[T], bool]) -> T:
        chosen = self._chosen
        try:
            answer = await call(chosen)
        except Unavailable:
            if (other := await self._look_for_another(chosen)) is None:
                raise
        else:
            if right(answer) or (other := await self._look_for_another(chosen)) is None:
                return answer
        return await call(other)

    async def _look_for_another(self, chosen: Embedder) -> Embedder | None:
        others = [each for each in self._embedders if each is not chosen]
        for other, model in zip(others, await served_models(others), strict=True):
            if isinstance(model, ModelInfo) and self._is_of_model(model):
                _log.info("another embedder serves the model", model_version=self._model_version)
                self._chosen = other
                return other
        return None


class ModelClassifier:
    """Fulfils `contract.Classifier` by whichever of some classifiers serves the model of an embedding."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        """Takes the classifiers, at least one."""
        self._classifiers = classifiers
        self._chosen = classifiers[0]

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding; see `Classifier.classify`."""
        chosen = self._chosen
        try:
            return await chosen.classify(embedding, top_k)
        except (ModelMismatch, Unavailable) as error:
            for other in self._classifiers:
                if other is chosen:
                    continue
                try:
                    classification = await other.classify(embedding, top_k)
                except (ModelMismatch, Unavailable):
                    continue
                self._chosen = other
                return classification
            raise error from None
