"""The models that the stack serves: the live one, and during a change the next or the former one beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from services.bundle.reader import Bundle
from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.classifier.settings import ClassifierSettings
from services.contract.errors import FailedPrecondition, FashionError
from services.contract.protocols import EmbeddingSpace
from services.contract.values import CandidateSet
from services.embedder.runtimes.select import EncoderOptions, load_encoder
from services.embedder.service import cold_embedder
from services.embedder.settings import EmbedderSettings
from services.search.catalogue.generations import GenerationRecord, Generations
from services.search.reindex.reindexer import no_next_model
from services.search.reindex.served import ModelParts, NextModel

_log = structlog.stdlib.get_logger(__name__)


class HandedOverCandidates:
    """A `CandidateStore` that hands published candidates to the classifier in this process."""

    def __init__(self, use: Callable[[CandidateSet], None]) -> None:
        self._use = use
        self._candidates: CandidateSet | None = None

    async def publish(self, candidates: CandidateSet) -> None:
        """Replaces the candidates of the next classification."""
        # A classifier compares them with its heads, which takes longer than an event loop may wait.
        await asyncio.to_thread(self._use, candidates)
        self._candidates = candidates

    async def version(self, model_version: str) -> str | None:
        """Returns the version of the candidates published for a model, or None if there are none."""
        candidates = await self.read(model_version)
        return candidates.version if candidates else None

    async def read(self, model_version: str) -> CandidateSet | None:
        """Returns the candidates published for a model, or None if there are none."""
        candidates = self._candidates
        return candidates if candidates and candidates.model_version == model_version else None


def local_classifier(settings: ClassifierSettings, space: EmbeddingSpace, bundle: Bundle | None) -> LocalClassifier:
    """Makes the classifier of a bundle, or one without heads."""
    return LocalClassifier(
        # The fake runtime and the plain weights of ImageNet know no labels.
        ClassifierModel.without_heads(space) if bundle is None else ClassifierModel.of(bundle),
        threads=settings.threads,
        max_pending=settings.max_pending,
    )


def live_options(options: EncoderOptions, generations: Generations) -> tuple[EncoderOptions, Bundle | None]:
    """Opens the bundle to begin with, whose network comes next: that of the live generation, if a reindex came to it.

    Args:
        options: the settings' own bundle.
        generations: of the catalogue.

    Returns:
        The options with the bundle that counts, and the bundle; None for the fake runtime and weights without a bundle.

    Raises:
        FashionError: the bundle cannot be loaded.
        FailedPrecondition: MODEL_ALREADY_LIVE; there is a change under way, and no bundle of the live model.
    """
    live = generations.live
    if live is None or live.source is None or live.source == options.bundle:
        return options, options.open_bundle(encoder=False)
    try:
        bundle = options.open_bundle()
    except FashionError:
        bundle = None
    if bundle is not None and bundle.model_version == live.model_version:
        return options, bundle
    kept = replace(options, bundle=live.source)
    try:
        other = kept.open_bundle()
    except FashionError as error:
        _log.warning("the bundle of the live model cannot be opened", bundle=live.source, why=error.message)
    else:
        if other is None or other.model_version == live.model_version:
            _log.warning(
                "the live model is not that of the settings; a reindex came to it",
                bundle=live.source,
                settings_bundle=options.bundle,
            )
            return kept, other
    if generations.other is not None:
        raise FailedPrecondition(
            f"The live model {live.model_version} was loaded from {live.source}, which holds it no more. Put it back.",
            reason="MODEL_ALREADY_LIVE",
            metadata={"model_version": live.model_version},
        )
    return options, options.open_bundle()


class StackModels:
    """Fulfils `ModelSource` by bundles that this process loads."""

    def __init__(
        self,
        embedder: EmbedderSettings,
        classifier: ClassifierSettings,
        live_source: str,
        on_live: Callable[[ModelParts], Awaitable[None]],
        on_end: Callable[[str], Awaitable[None]],
    ) -> None:
        """Takes how models are loaded, the bundle that was live at the start, and who is told of a switch and an end.

        Args:
            embedder: how embedders are loaded.
            classifier: how classifiers are made.
            live_source: the bundle that was live at the start.
            on_live: called with the model that is live from now on.
            on_end: called with the model version of a generation that has been ended.
        """
        self._embedder = embedder
        self._classifier = classifier
        self._live_source = live_source
        self._on_live = on_live
        self._on_end = on_end

    @property
    def live_source(self) -> str:
        """The bundle that was live at the start."""
        return self._live_source

    async def find_next(self, bundle: str, live_version: str) -> NextModel:
        """Opens the bundle to change to; see `ModelSource.find_next`."""
        if not bundle:
            raise no_next_model()
        options = self._options(bundle)
        opened = await asyncio.to_thread(options.open_bundle)
        model = opened or (await asyncio.to_thread(load_encoder, options)).model
        return NextModel(model.model_version, model.dimension, options.bundle)

    @asynccontextmanager
    async def opened(self, record: GenerationRecord) -> AsyncIterator[ModelParts]:
        """Loads a model; see `ModelSource.opened`."""
        options = self._options(record.source or self._live_source)
        bundle = await asyncio.to_thread(options.open_bundle)
        encoder = await asyncio.to_thread(load_encoder, options, bundle)
        # Warming up would take all processors for seconds. The first photographs that are embedded again do it.
        async with cold_embedder(encoder, self._embedder.limits()) as embedder:
            classifier = local_classifier(self._classifier, encoder.model, bundle)
            try:
                yield ModelParts(encoder.model, embedder, classifier, HandedOverCandidates(classifier.use))
            finally:
                classifier.close()

    async def now_live(self, parts: ModelParts) -> None:
        """Lets the embedder and the classifier of the stack's port answer by the live model."""
        await self._on_live(parts)

    async def ended(self, model_version: str) -> None:
        """Lets go of the model that the stack began with, where it is this one; others are closed by `opened`."""
        await self._on_end(model_version)

    async def check_settled(self, model_version: str) -> None:
        """Does nothing: the catalogue names the bundle, and the next start loads it."""

    def _options(self, bundle: str) -> EncoderOptions:
        options = replace(self._embedder.encoder(), bundle=bundle)
        return replace(options, bundle=options.source)
