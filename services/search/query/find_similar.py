"""Finds similar products: asks embedder and classifier while dislikes are read, and says what was applied."""

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum

import structlog

from services.concurrency import deadline
from services.concurrency.workers import Workers
from services.contract.embedding import check_served_model, checked_embedding
from services.contract.errors import (
    DeadlineExceeded,
    FashionError,
    InvalidInput,
    ModelMismatch,
    Overloaded,
    Unavailable,
    Upstream,
)
from services.contract.protocols import Classifier, Embedder, EmbeddingSpace, ImmediateClassifier
from services.contract.values import Classification, Embedding, Photograph
from services.search.catalogue.products import validate_product_id
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import Filter
from services.search.indexes.base import Hit
from services.search.preferences import PreferenceStore, validate_user_id
from services.search.query.explanation import Explanation, Step, Stopwatch
from services.search.query.retrieval import Inventory, SearchOutcome, SimilarQuery, check_query

_log = structlog.stdlib.get_logger(__name__)

DEFAULT_TOP_K = 10

# What a classifier may answer with that is no reason to leave a shopper without similar products. A mismatch means that
# it was given another bundle than the embedder, since the embedding was checked before.
_CLASSIFIER_TROUBLE = (Unavailable, Overloaded, DeadlineExceeded, ModelMismatch)


class Scope(Enum):
    """Where to search."""

    PREDICTED_TYPE = "predicted type"
    INVENTORY = "inventory"
    DERIVED_TYPES = "derived types"


class PreferencePolicy(Enum):
    """What to do where the user's dislikes cannot be read."""

    BEST_EFFORT = "best effort"
    REQUIRED = "required"


class Degraded(Enum):
    """Why an answer is less than it could be."""

    PREFERENCES_UNAVAILABLE = "preferences unavailable"
    CLASSIFIER_UNAVAILABLE = "classifier unavailable"
    PREDICTED_TYPE_NOT_IN_CATALOGUE = "predicted type not in catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRequest:
    """What a caller asks for.

    Attributes:
        query: a product's id, a photograph, or an embedding as sent, unchecked; None where there is none.
        liked_ids: products to lean towards.
        disliked_ids: products to lean away from.
        user_id: whose dislikes are left out; "" for nobody's.
        filter: which products are eligible.
        top_k: how many to return.
        scope: None for the whole inventory for a product, the predicted derived type for anything else.
        derived_types: for `Scope.DERIVED_TYPES`, and only for it.
        include_out_of_stock: whether products that are out of stock are eligible too.
        preference_policy: what to do where the dislikes cannot be read.
        excluded_ids: further products to leave out.
        explain: whether to say how the answer came about.
    """

    query: str | Photograph | Embedding | None
    liked_ids: tuple[str, ...] = ()
    disliked_ids: tuple[str, ...] = ()
    user_id: str = ""
    filter: Filter = field(default_factory=Filter)
    top_k: int = DEFAULT_TOP_K
    scope: Scope | None = None
    derived_types: tuple[str, ...] = ()
    include_out_of_stock: bool = False
    preference_policy: PreferencePolicy = PreferencePolicy.BEST_EFFORT
    excluded_ids: tuple[str, ...] = ()
    explain: bool = False


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    """What was found.

    Attributes:
        outcome: the products, and what was applied to find them.
        scope: where it was searched.
        classification: what the photograph was recognised as; None where the classifier was not asked or did not
            answer.
        degraded: whatever was left out of the normal way, in the order of the enumeration.
        explanation: how it came about; None unless asked for.
    """

    outcome: SearchOutcome
    scope: Scope
    classification: Classification | None
    degraded: tuple[Degraded, ...]
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class FindingSettings:
    """How the parts are asked.

    Attributes:
        classifier_timeout_s: how long a classifier in another process may take before the answer does without, in
            seconds.
        classifier_top_k: how many subCategories and derived types are asked for.
    """

    classifier_timeout_s: float = 1.0
    classifier_top_k: int = 5


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to search: `derived_types` None is the whole inventory; `degraded` where that was not what was meant."""

    scope: Scope
    derived_types: frozenset[str] | None
    degraded: Degraded | None = None


class SimilarFinder:
    """The way of a query: embedding, derived type, dislikes, search."""

    def __init__(
        self,
        inventory: Inventory,
        space: EmbeddingSpace,
        embedder: Embedder,
        classifier: Classifier,
        preferences: PreferenceStore,
        workers: Workers,
        settings: FindingSettings | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            inventory: what can be found.
            space: the model whose embeddings it holds.
            embedder: for photographs.
            classifier: for photographs and embeddings.
            preferences: the dislikes.
            workers: where the search itself runs.
            settings: how the parts are asked.
        """
        self._inventory = inventory
        self._space = space
        self._embedder = embedder
        self._classifier = classifier
        # Asked where the search runs anyway: going from thread to thread takes as long as it does.
        self._immediate = classifier if isinstance(classifier, ImmediateClassifier) else None
        self._preferences = preferences
        self._workers = workers
        self._settings = settings or FindingSettings()

    async def find(self, request: SimilarRequest) -> SimilarAnswer:
        """Finds the products most similar to a product, a photograph or an embedding.

        A classification belongs to every answer for a photograph or an embedding. Only where the predicted derived type
        decides where to search is it waited for before the search.

        Raises:
            InvalidInput: QUERY_MISSING, SCOPE_INVALID, USER_ID_INVALID, DERIVED_TYPE_UNKNOWN, EMBEDDING_INVALID, those
                of `Inventory.search`, and for a photograph those of the embedder.
            NotFound: PRODUCT_NOT_FOUND.
            ModelMismatch: MODEL_VERSION_MISMATCH.
            Overloaded: QUEUE_FULL.
            Unavailable: EMBEDDER_UNAVAILABLE, for a photograph; PREFERENCES_UNAVAILABLE, where they are required.
        """
        scope = _checked_scope(request)
        _check(request)
        if scope is Scope.DERIVED_TYPES:
            # Before anything is embedded in vain.
            await self._workers.run(self._inventory.require_derived_types, request.derived_types)
        watch = Stopwatch()
        dislikes = asyncio.create_task(self._dislikes(request, watch)) if request.user_id else None
        try:
            answer = await self._find(request, scope, dislikes, watch)
        finally:
            if dislikes is not None:
                dislikes.cancel()
        if answer.explanation is None:
            return answer
        return replace(answer, explanation=replace(answer.explanation, timings=watch.timings()))

    async def _find(
        self,
        request: SimilarRequest,
        scope: Scope,
        dislikes: "asyncio.Task[tuple[DislikedColour, ...] | Upstream] | None",
        watch: Stopwatch,
    ) -> SimilarAnswer:
        query = await self._embedded(request.query, watch)
        if isinstance(query, str) or self._immediate is not None:
            return await self._search(request, query, scope, None, dislikes, watch)
        classifying = asyncio.create_task(self._classify(query, watch))
        try:
            classification = await classifying if scope is Scope.PREDICTED_TYPE else None
            answer = await self._search(request, query, scope, classification, dislikes, watch)
            return replace(answer, classification=await classifying)
        finally:
            classifying.cancel()

    async def _embedded(self, query: str | Photograph | Embedding | None, watch: Stopwatch) -> str | Embedding:
        if isinstance(query, Photograph):
            with watch.timed(Step.EMBED):
                embedding = await self._embedder.embed(query)
            check_served_model(embedding, self._space.model_version)
            return embedding
        if isinstance(query, Embedding):
            return checked_embedding(query.values, query.model_version, expected=self._space)
        return query or ""

    async def _classify(self, embedding: Embedding, watch: Stopwatch) -> Classification | None:
        try:
            with watch.timed(Step.CLASSIFY), deadline.at_most(self._settings.classifier_timeout_s):
                async with deadline.enforced():
                    return await self._classifier.classify(embedding, self._settings.classifier_top_k)
        except _CLASSIFIER_TROUBLE as error:
            _tell_trouble(error)
            return None

    async def _dislikes(self, request: SimilarRequest, watch: Stopwatch) -> tuple[DislikedColour, ...] | Upstream:
        try:
            with watch.timed(Step.READ_DISLIKES):
                return await self._preferences.disliked_colours(request.user_id)
        except Upstream as error:
            return error

    async def _search(
        self,
        request: SimilarRequest,
        query: str | Embedding,
        scope: Scope,
        classification: Classification | None,
        dislikes: "asyncio.Task[tuple[DislikedColour, ...] | Upstream] | None",
        watch: Stopwatch,
    ) -> SimilarAnswer:
        degraded: tuple[Degraded, ...] = ()
        colours = await dislikes if dislikes is not None else ()
        if isinstance(colours, Upstream):
            if request.preference_policy is PreferencePolicy.REQUIRED:
                raise colours
            _log.warning("query is answered without the user's dislikes", reason=colours.reason)
            degraded = (Degraded.PREFERENCES_UNAVAILABLE,)
            colours = ()
        answer = await self._workers.run(self._search_place, request, query, scope, classification, colours, watch)
        if request.explain:
            answer = await self._explained(answer, request, query, colours, watch)
        return replace(answer, degraded=degraded + answer.degraded)

    async def _explained(
        self,
        answer: SimilarAnswer,
        request: SimilarRequest,
        query: str | Embedding,
        colours: tuple[DislikedColour, ...],
        watch: Stopwatch,
    ) -> SimilarAnswer:
        before: tuple[Hit, ...] = ()
        if colours:
            searched = frozenset(answer.outcome.derived_types) or None
            with watch.timed(Step.EXPLAIN):
                outcome = await self._workers.run(self._inventory.search, _query(request, query, searched, ()))
            before = outcome.hits
        return replace(answer, explanation=Explanation((), before))

    # What follows runs in the workers: the index may have to be waited for.

    def _search_place(
        self,
        request: SimilarRequest,
        query: str | Embedding,
        scope: Scope,
        classification: Classification | None,
        colours: tuple[DislikedColour, ...],
        watch: Stopwatch,
    ) -> SimilarAnswer:
        if self._immediate is not None and isinstance(query, Embedding):
            classification = self._classify_now(self._immediate, query, watch)
        with watch.timed(Step.SEARCH):
            place = self._place(request, query, scope, classification)
            outcome = self._inventory.search(_query(request, query, place.derived_types, colours))
        degraded = () if place.degraded is None else (place.degraded,)
        return SimilarAnswer(outcome, place.scope, classification, degraded)

    def _classify_now(
        self, classifier: ImmediateClassifier, embedding: Embedding, watch: Stopwatch
    ) -> Classification | None:
        try:
            with watch.timed(Step.CLASSIFY):
                return classifier.classify_now(embedding, self._settings.classifier_top_k)
        except _CLASSIFIER_TROUBLE as error:
            _tell_trouble(error)
            return None

    def _place(
        self, request: SimilarRequest, query: str | Embedding, scope: Scope, classification: Classification | None
    ) -> _Place:
        match scope:
            case Scope.INVENTORY:
                return _Place(scope, None)
            case Scope.DERIVED_TYPES:
                return _Place(scope, frozenset(request.derived_types))
            case Scope.PREDICTED_TYPE:
                if isinstance(query, str):
                    return _Place(scope, frozenset({self._inventory.product(query).derived_type}))
                return self._predicted_place(classification)

    def _predicted_place(self, classification: Classification | None) -> _Place:
        if classification is None:
            return _Place(Scope.INVENTORY, None, Degraded.CLASSIFIER_UNAVAILABLE)
        predicted = classification.derived_types[0].label if classification.derived_types else None
        if predicted is None or not self._inventory.index.has_searchable(predicted):
            return _Place(Scope.INVENTORY, None, Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE)
        return _Place(Scope.PREDICTED_TYPE, frozenset({predicted}))


def _tell_trouble(error: FashionError) -> None:
    _log.warning("query is answered without its classification", reason=error.reason, why=error.message)


def _check(request: SimilarRequest) -> None:
    """Refuses what can be refused before anything is asked."""
    if request.query is None:
        raise InvalidInput(
            "The request has no query: name a product, or send an image or an embedding.",
            reason="QUERY_MISSING",
            metadata={"field": "query"},
        )
    check_query(_query(request, "", None, ()))
    if isinstance(request.query, str):
        validate_product_id(request.query, "product_id")
    if request.user_id:
        validate_user_id(request.user_id)


def _query(
    request: SimilarRequest,
    query: str | Embedding,
    derived_types: frozenset[str] | None,
    disliked_colours: tuple[DislikedColour, ...],
) -> SimilarQuery:
    return SimilarQuery(
        query=query,
        top_k=request.top_k,
        derived_types=derived_types,
        filter=request.filter,
        liked_ids=request.liked_ids,
        disliked_ids=request.disliked_ids,
        excluded_ids=request.excluded_ids,
        disliked_colours=disliked_colours,
        include_out_of_stock=request.include_out_of_stock,
    )


def _checked_scope(request: SimilarRequest) -> Scope:
    scope = request.scope
    if scope is None:
        scope = Scope.INVENTORY if isinstance(request.query, str) else Scope.PREDICTED_TYPE
    if request.derived_types and scope is not Scope.DERIVED_TYPES:
        raise InvalidInput(
            "derived_types are named, but the scope is another: set SEARCH_SCOPE_DERIVED_TYPES, or name none.",
            reason="SCOPE_INVALID",
            metadata={"field": "derived_types"},
        )
    return scope
