"""Answers the main query: embed, classify, read dislikes, search, explain."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram

from services.concurrency import deadline
from services.concurrency.workers import Workers
from services.contract.embedding import check_served_model, checked_embedding
from services.contract.errors import DeadlineExceeded, ModelMismatch, Overloaded, Unavailable, Upstream
from services.contract.protocols import Classifier, Embedder, EmbeddingSpace, ImmediateClassifier
from services.contract.values import (
    Classification,
    ClassificationMethod,
    Embedding,
    Gender,
    Photograph,
    View,
    matching_types,
)
from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.indexes.base import Collapse, Eligibility, Hit, IndexAnswer, Ladder
from services.search.preferences import PreferenceStore
from services.search.query.explanation import Explanation, Step, Stopwatch
from services.search.query.recognition import recognised
from services.search.query.request import PreferencePolicy, Scope, SimilarRequest
from services.search.query.retrieval import Inventory

_QUERIES: Final = Counter("fashion_search_queries", "Answers of FindSimilar, by what they searched.", ("scope",))
_DEGRADED: Final = Counter(
    "fashion_search_degraded", "Answers that are less than they could be, by reason.", ("reason",)
)
_SHORT: Final = Counter("fashion_search_short", "Answers with fewer products than were asked for.")
_ELIGIBLE: Final = Histogram(
    "fashion_search_eligible_products", "Eligible products of a query.", buckets=(0, 1, 10, 100, 1_000, 10_000, 100_000)
)

_log = structlog.stdlib.get_logger(__name__)

# Errors of a classifier that leave the query an answer. The embedding has been checked, so a mismatch means that the
# classifier serves another bundle than the embedder.
_CLASSIFIER_ERRORS = (Unavailable, Overloaded, DeadlineExceeded, ModelMismatch)

# The likeliest derived types that are searched together where the photograph is unsure. With a third one, fewer results
# are right (docs/decisions/0016).
MAX_UNSURE_TYPES: Final = 2
# The other variants that a product of an answer names at most.
MAX_NAMED_VARIANTS: Final = 20


class Degraded(Enum):
    """Why an answer is less than it could be."""

    PREFERENCES_UNAVAILABLE = "preferences unavailable"
    CLASSIFIER_UNAVAILABLE = "classifier unavailable"
    PREDICTED_TYPE_NOT_IN_CATALOGUE = "predicted type not in catalogue"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    """The similar products, and what was applied to find them.

    Attributes:
        result: what the index found.
        scope: where it was searched.
        derived_types: those searched, in alphabetical order; empty for the whole inventory.
        ladder: where the search could go on from them; None for nowhere.
        model_version: the model whose embeddings were compared.
        classification: of the photograph or embedding; None if the classifier was not asked or did not answer.
        degraded: why the answer is less than it could be, in the order of the enumeration.
        explanation: how the answer came about; None unless asked for.
        view: what of the photograph was searched; None for a product or an embedding.
        requested_count: how many products were asked for.
    """

    result: IndexAnswer
    scope: Scope
    derived_types: tuple[str, ...]
    ladder: Ladder | None
    model_version: str
    classification: Classification | None
    degraded: tuple[Degraded, ...]
    explanation: Explanation | None
    view: View | None
    requested_count: int

    @property
    def below_min_similarity(self) -> int:
        """How many places stayed empty because the products left are not similar enough."""
        return min(self.requested_count, self.result.eligible_count) - len(self.result.hits)

    @property
    def dissimilar_count(self) -> int:
        """How many eligible products are not similar enough; 0 where others fill all places."""
        return self.result.eligible_count - len(self.result.hits) if self.below_min_similarity else 0


@dataclass(frozen=True, slots=True)
class ClassifierUse:
    """How the classifier is asked.

    Attributes:
        timeout_s: how long a classifier in another process may take before the answer does without it, in seconds.
        top_k: how many subCategories and derived types it returns.
    """

    timeout_s: float
    top_k: int


@dataclass(slots=True)
class SimilarFinder:
    """Finds similar products.

    Attributes:
        inventory: the products that can be found.
        space: the model whose embeddings the inventory holds.
        embedder: for photographs.
        classifier: for photographs and embeddings.
        preferences: the dislikes.
        workers: the threads in which the index is searched.
        classifier_use: how the classifier is asked.
        unsure_below: returns the confidence below which a recognition is doubtful, in [0, 1]; 0 while it is unknown.
        immediate_classifier: the classifier, if it answers without waiting.
    """

    inventory: Inventory
    space: EmbeddingSpace
    embedder: Embedder
    classifier: Classifier
    preferences: PreferenceStore
    workers: Workers
    classifier_use: ClassifierUse
    unsure_below: Callable[[], float] = lambda: 0.0
    immediate_classifier: ImmediateClassifier | None = field(init=False)

    def __post_init__(self) -> None:
        self.immediate_classifier = self.classifier if isinstance(self.classifier, ImmediateClassifier) else None

    async def find_similar(self, request: SimilarRequest) -> SimilarAnswer:
        """Finds the products most similar to a product, a photograph or an embedding.

        Raises:
            InvalidInput: those of `SimilarRequest.check`, DERIVED_TYPE_UNKNOWN, EMBEDDING_INVALID, those of the filter,
                and for a photograph those of the embedder.
            NotFound: PRODUCT_NOT_FOUND, for the product of the query, a liked or a disliked one.
            ModelMismatch: MODEL_VERSION_MISMATCH, for the embedding of the query or of one of these products.
            Overloaded: QUEUE_FULL.
            Unavailable: EMBEDDER_UNAVAILABLE, for a photograph; PREFERENCES_UNAVAILABLE, if they are required.
        """
        request.check()
        await self.check_scope(request)
        return await SimilarQuery(self, request).answer()

    async def check_scope(self, request: SimilarRequest) -> None:
        """Refuses derived types that no product has, before anything is embedded in vain."""
        if request.effective_scope is Scope.DERIVED_TYPES:
            await self.workers.run(self.inventory.require_derived_types, request.derived_types)


class SimilarQuery:
    """One query: what is known about it so far, and the steps that add to that."""

    def __init__(self, finder: SimilarFinder, request: SimilarRequest) -> None:
        self._finder = finder
        self._request = request
        self._watch = Stopwatch()
        # The id of a product, or an embedding.
        self._subject: str | Embedding = ""
        self._classification: Classification | None = None
        self._colours: tuple[DislikedColour, ...] = ()
        self._scope = request.effective_scope
        self._degraded: set[Degraded] = set()

    async def answer(self) -> SimilarAnswer:
        """Takes all the steps.

        Dislikes are read meanwhile. An immediate classifier answers in the thread that searches, since a change of
        threads takes as long as the classification. A remote one is awaited before the search only if its answer
        decides where to search.
        """
        request, finder = self._request, self._finder
        reading = asyncio.create_task(self.read_dislikes()) if request.user_id else None
        classifying: asyncio.Task[None] | None = None
        try:
            await self._embed()
            if isinstance(self._subject, Embedding) and finder.immediate_classifier is None:
                classifying = asyncio.create_task(self._classify(self._subject))
                if self._scope is Scope.PREDICTED_TYPE:
                    await classifying
            if reading is not None:
                await reading
            direction, eligibility, result = await finder.workers.run(self._search)
            hits_before = await self._search_disliked(direction, eligibility) if request.explain else ()
            if classifying is not None:
                await classifying
                # Otherwise the change of threads would be in vain.
                if self._undecided:
                    await finder.workers.run(self._recognise)
        finally:
            await _end(reading, classifying)
        self._count(result)
        return self.answered(eligibility, result, hits_before)

    def answered(
        self, eligibility: Eligibility, result: IndexAnswer, hits_before: tuple[Hit, ...] = ()
    ) -> SimilarAnswer:
        """Returns the answer of this query to what the index found."""
        request = self._request
        return SimilarAnswer(
            result=result,
            scope=self._scope,
            derived_types=tuple(sorted(eligibility.derived_types or ())),
            ladder=eligibility.ladder,
            model_version=self._finder.inventory.model_version,
            classification=self._classification,
            degraded=tuple(reason for reason in Degraded if reason in self._degraded),
            explanation=Explanation(self._watch.timings(), hits_before) if request.explain else None,
            view=self._subject.view if isinstance(self._subject, Embedding) else None,
            requested_count=request.top_k,
        )

    def _count(self, result: IndexAnswer) -> None:
        _QUERIES.labels(self._scope.value).inc()
        _ELIGIBLE.observe(result.eligible_count)
        if result.eligible_count < self._request.top_k:
            _SHORT.inc()
        for reason in self._degraded:
            _DEGRADED.labels(reason.value).inc()

    def of_product(self, product_id: str) -> "SimilarQuery":
        """Returns the same query for a product of the catalogue, with the dislikes that this one has read."""
        query = SimilarQuery(self._finder, replace(self._request, query=product_id))
        query._subject, query._colours, query._degraded = product_id, self._colours, set(self._degraded)
        return query

    async def read_dislikes(self) -> None:
        """Reads which colours the user dislikes."""
        try:
            with self._watch.timed(Step.READ_DISLIKES):
                self._colours = await self._finder.preferences.disliked_colours(self._request.user_id)
        except Upstream as error:
            if self._request.preference_policy is PreferencePolicy.REQUIRED:
                raise
            self._colours = self._finder.preferences.last_known(self._request.user_id)
            _log.warning("dislikes cannot be read", reason=error.reason, last_known=len(self._colours))
            self._degraded.add(Degraded.PREFERENCES_UNAVAILABLE)

    async def _embed(self) -> None:
        query, space = self._request.query, self._finder.space
        if isinstance(query, Photograph):
            with self._watch.timed(Step.EMBED):
                self._subject = await self._finder.embedder.embed(query)
            check_served_model(self._subject, space.model_version)
        elif isinstance(query, Embedding):
            self._subject = checked_embedding(query.values, query.model_version, expected=space)
        elif query is not None:
            self._subject = query

    async def _classify(self, embedding: Embedding) -> None:
        use = self._finder.classifier_use
        with self._classification_step(), deadline.at_most(use.timeout_s):
            async with deadline.enforced():
                self._classification = await self._finder.classifier.classify(embedding, use.top_k)

    @contextmanager
    def _classification_step(self) -> Iterator[None]:
        try:
            with self._watch.timed(Step.CLASSIFY):
                yield
        except _CLASSIFIER_ERRORS as error:
            _log.warning("query is answered without its classification", reason=error.reason, why=error.message)

    async def _search_disliked(self, direction: NDArray[np.float32], eligibility: Eligibility) -> tuple[Hit, ...]:
        """Returns the result of the same search without the user's dislikes; empty if there are none."""
        if not self._colours:
            return ()
        with self._watch.timed(Step.EXPLAIN):
            with_disliked = replace(eligibility, disliked_colours=())
            result = await self._finder.workers.run(
                self._finder.inventory.index.search,
                direction,
                self._request.top_k,
                with_disliked,
                self._request.ranking,
            )
        return result.hits

    # From here on the methods run in the workers, because the index may be locked by a write.

    def _search(self) -> tuple[NDArray[np.float32], Eligibility, IndexAnswer]:
        classifier = self._finder.immediate_classifier
        if classifier is not None and isinstance(self._subject, Embedding):
            with self._classification_step():
                self._classification = classifier.classify_now(self._subject, self._finder.classifier_use.top_k)
        self._recognise()
        with self._watch.timed(Step.SEARCH):
            direction, eligibility = self.prepared()
            ranking = replace(self._request.ranking, named_variants=MAX_NAMED_VARIANTS)
            result = self._finder.inventory.index.search(direction, self._request.top_k, eligibility, ranking)
            return direction, eligibility, result

    def prepared(self) -> tuple[NDArray[np.float32], Eligibility]:
        """Returns where to look, float32, shape (dimension,), L2 norm 1, and for which products."""
        request, inventory = self._request, self._finder.inventory
        own_ids = (self._subject,) if isinstance(self._subject, str) else ()
        product = inventory.product(self._subject) if isinstance(self._subject, str) else None
        collapse = request.eligibility.collapse
        derived_types, ladder = self._where(product)
        eligibility = replace(
            request.eligibility,
            excluded_families=() if product is None or collapse is Collapse.NONE else (product.family,),
            excluded_designs_of=own_ids if collapse is Collapse.DESIGNS else (),
            derived_types=derived_types,
            ladder=ladder,
            disliked_colours=self._colours,
            excluded_ids=frozenset(own_ids).union(
                request.liked_ids, request.disliked_ids, request.eligibility.excluded_ids
            ),
        )
        return inventory.direction(self._subject, request.liked_ids, request.disliked_ids), eligibility

    @property
    def _undecided(self) -> bool:
        """Whether only candidates know the recognised type."""
        classification = self._classification
        return classification is not None and classification.method is ClassificationMethod.CANDIDATES

    def _recognise(self) -> None:
        """Lets the nearest products decide where the classifier had nothing better than candidates."""
        if self._classification is not None and isinstance(self._subject, Embedding):
            top_k = self._finder.classifier_use.top_k
            self._classification = recognised(
                self._classification, self._subject.values, self._finder.inventory.index, top_k
            )

    def _where(self, product: Product | None) -> tuple[frozenset[str] | None, Ladder | None]:
        """Returns the derived types to search and where to go on; (None, None) for the whole inventory.

        Takes the whole inventory where no type is usable.

        Args:
            product: the subject, if it is one.
        """
        widen, index = self._request.widen, self._finder.inventory.index
        match self._scope:
            case Scope.INVENTORY:
                return None, None
            case Scope.DERIVED_TYPES:
                named = frozenset(self._request.derived_types)
                return named, index.ladder(named) if widen else None
            case Scope.PREDICTED_TYPE if product is not None:
                # The type of a product of the catalogue is known.
                own = self._searchable([(product.gender, product.article_type)]) | {product.derived_type}
                return own, Ladder.of(product) if widen else None
        if self._classification is None:
            self._degraded.add(Degraded.CLASSIFIER_UNAVAILABLE)
        else:
            confidence, count = self._classification.confidence, 1
            if confidence is not None and confidence < self._finder.unsure_below():
                self._degraded.add(Degraded.UNSURE)
                count = MAX_UNSURE_TYPES
            predicted = self._classification.derived_types[:count]
            if searchable := self._searchable((each.gender, each.article_type) for each in predicted):
                return searchable, index.ladder(searchable) if widen else None
            self._degraded.add(Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE)
            if widen:
                article_types = {each.article_type for each in predicted}
                sub_categories = {each.sub_category for each in predicted if each.sub_category}
                if ladder := index.ladder((), article_types, sub_categories):
                    return frozenset(), ladder
        self._scope = Scope.INVENTORY
        return None, None

    def _searchable(self, kinds: Iterable[tuple[Gender | None, str]]) -> frozenset[str]:
        """Returns the derived types of the catalogue that products of some genders and article types may belong to."""
        labels = chain.from_iterable(matching_types(*kind) for kind in kinds)
        return frozenset(filter(self._finder.inventory.index.has_searchable, labels))


async def _end(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancels tasks that are still under way, and drops errors that nobody waits for any more."""
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    if started:
        await asyncio.gather(*started, return_exceptions=True)
