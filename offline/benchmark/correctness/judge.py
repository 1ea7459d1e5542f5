"""Holds answers to the oracle, each at the very version of the catalogue that it names."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.correctness.expected import Expected
from offline.benchmark.correctness.oracle import Oracle
from offline.benchmark.correctness.paths import Answered, Refused, facts_of
from services.contract.values import Embedding, Gender
from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.indexes.base import Collapse, Eligibility, Ladder
from services.search.query.request import Scope, SimilarRequest

_MAX_NAMED_VARIANTS: Final = 20
_LIKED_WEIGHT, _DISLIKED_WEIGHT = 0.75, 0.15
# Wrong answers that the report shows.
_MAX_SHOWN: Final = 5


@dataclass(slots=True)
class Query:
    """A query, and what came of it.

    Attributes:
        request: as sent.
        dislikes: of its user, when it was sent.
        path: the way that it went.
        sent_at: the newest version that had been acknowledged when it was sent.
        answer: what came back.
        subjects: where it looked, its product, and its ladder, at each version since it was sent.
    """

    request: SimilarRequest
    dislikes: tuple[DislikedColour, ...]
    path: str
    sent_at: int
    answer: Answered | Refused
    subjects: dict[tuple[object, ...], "Subject"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a query is about, at one version of the catalogue.

    Attributes:
        direction: float32, shape (dimension,), L2 norm 1.
        product: the one that is asked for, if it is one.
        ladder: where an answer goes on; None for nowhere, and where the answer alone knows.
    """

    direction: NDArray[np.float32]
    product: Product | None
    ladder: Ladder | None


@dataclass(frozen=True, slots=True)
class Write:
    """An acknowledged write: the version after it, and what it does to the oracle."""

    index_version: int
    apply: Callable[[Oracle], None]


class Wrong(Exception):
    """An answer is not what it must be; `kind` says how."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Judge:
    """Follows the catalogue version by version, and counts what is wrong.

    Attributes:
        oracle: the products at the version that was reached.
        wrong: how many answers are wrong, by kind.
        examples: the first of them.
        paths: how many answers were held to the oracle, by the way that they came.
        refused: how many of them were refusals.
        shown: products in all answers.
        full: answers with as many products as were asked for.
    """

    def __init__(self) -> None:
        self.oracle = Oracle()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.paths: Counter[str] = Counter()
        self.refused = self.shown = self.full = 0
        self._version = 0

    def follow(self, writes: Sequence[Write], queries: Sequence[Query]) -> None:
        """Goes through all versions that some writes made, and judges the answers that were given meanwhile."""
        by_version: dict[int, list[Write]] = {self._version: []}
        for write in writes:
            by_version.setdefault(write.index_version, []).append(write)
        waiting = sorted(queries, key=lambda query: query.sent_at)
        under_way: list[Query] = []
        for self._version in sorted(by_version):
            for write in by_version[self._version]:
                write.apply(self.oracle)
            while waiting and waiting[0].sent_at <= self._version:
                under_way.append(waiting.pop(0))
            for query in under_way:
                self._look(query)
            under_way = [query for query in under_way if not self._is_done(query)]
        for query in under_way:
            self._report(query, Wrong("refused", str(query.answer)))

    def _is_done(self, query: Query) -> bool:
        """Judges a query whose answer is of this version; returns whether it was."""
        if isinstance(query.answer, Refused):
            if self._refusal_is_right(query):
                self.refused += 1
                self.paths[query.path] += 1
                return True
            return False
        if query.answer.index_version > self._version:
            return False
        self._judge(query)
        return True

    def _look(self, query: Query) -> None:
        """Notes what the products that a query is about look like now, since search may have read them now."""
        request, rows = query.request, self.oracle.rows
        ids = _subjects(request)
        if any(each not in rows for each in ids):
            return
        product = rows[request.query].product if isinstance(request.query, str) else None
        ladder = self._ladder(request, product)
        key = (*(id(rows[each].embedding) for each in ids), product, ladder)
        if key not in query.subjects:
            query.subjects[key] = Subject(self._direction(request), product, ladder)

    def _ladder(self, request: SimilarRequest, product: Product | None) -> Ladder | None:
        if not request.widen:
            return None
        if request.scope is Scope.DERIVED_TYPES:
            return self.oracle.ladder(request.derived_types)
        if product is None:
            return None
        return Ladder(
            frozenset({product.article_type}),
            frozenset({product.sub_category}),
            frozenset({product.master_category or ""} - {""}),
        )

    def _direction(self, request: SimilarRequest) -> NDArray[np.float32]:
        if isinstance(request.query, str):
            values = self._unit(request.query)
        else:
            assert isinstance(request.query, Embedding)
            sent = request.query.values.astype(np.float64)
            values = (sent / np.linalg.norm(sent)).astype(np.float32)
        if not request.liked_ids and not request.disliked_ids:
            return values
        steered = values.astype(np.float64)
        for ids, weight in ((request.liked_ids, _LIKED_WEIGHT), (request.disliked_ids, -_DISLIKED_WEIGHT)):
            if ids:
                steered += weight * np.stack([self._unit(each) for each in ids]).mean(axis=0, dtype=np.float64)
        direction: NDArray[np.float32] = (steered / np.linalg.norm(steered)).astype(np.float32)
        return direction

    def _unit(self, product_id: str) -> NDArray[np.float32]:
        embedding = self.oracle.rows[product_id].embedding
        assert embedding is not None
        values = embedding.astype(np.float32)
        unit: NDArray[np.float32] = values / np.linalg.norm(values, axis=-1, keepdims=True)
        return unit

    def _refusal_is_right(self, query: Query) -> bool:
        assert isinstance(query.answer, Refused)
        request, rows = query.request, self.oracle.rows
        filters = (request.eligibility.filter, *(each.condition for each in request.boosts))
        reasons = set[str]().union(*map(self.oracle.refusals, filters))
        if any(each not in rows for each in _subjects(request)):
            reasons.add("PRODUCT_NOT_FOUND")
        if not {*request.derived_types} <= {*self.oracle.values("derived_type")}:
            reasons.add("DERIVED_TYPE_UNKNOWN")
        return query.answer.reason in reasons

    def _judge(self, query: Query) -> None:
        self.paths[query.path] += 1
        problem = Wrong("deleted", "a product of the query is not there")
        for subject in query.subjects.values():
            try:
                self._check(query, subject)
            except Wrong as wrong:
                problem = wrong
            else:
                return
        self._report(query, problem)

    def report(self, kind: str, text: str) -> None:
        """Counts something wrong."""
        self.wrong[kind] += 1
        if len(self.examples) < _MAX_SHOWN:
            self.examples.append(f"{kind}: {text}")

    def _report(self, query: Query, wrong: Wrong) -> None:
        self.report(wrong.kind, f"{wrong}; {query.path}, {query.request}, dislikes {query.dislikes}")

    def _check(self, query: Query, subject: Subject) -> None:
        """Holds an answer to the products that there are.

        Raises:
            Wrong: it is not what it must be.
        """
        answer, request = query.answer, query.request
        assert isinstance(answer, Answered)
        if not query.sent_at <= answer.index_version == self._version:
            raise Wrong("version", f"{answer.index_version}, acknowledged before it was sent: {query.sent_at}")
        direction, product = subject.direction, subject.product
        types, ladder = self._types(request, product, answer), subject.ladder
        if answer.rungs and ladder is None and request.widen:
            types, ladder = frozenset(answer.derived_types), _ladder_said(answer)
        own = () if product is None else (product.id,)
        collapse = request.eligibility.collapse
        eligibility = replace(
            request.eligibility,
            derived_types=types,
            ladder=ladder,
            disliked_colours=query.dislikes,
            excluded_ids={*own, *request.liked_ids, *request.disliked_ids, *request.eligibility.excluded_ids},
            excluded_families=(product.family,) if product and collapse is not Collapse.NONE else (),
            excluded_designs_of=own,
        )
        expected = self.oracle.answer(direction, request.top_k, eligibility, request.ranking)
        self.shown += len(answer.hits)
        self.full += len(answer.hits) == request.top_k
        self._hold(answer, expected, eligibility, request, direction)

    def _types(self, request: SimilarRequest, product: Product | None, answer: Answered) -> frozenset[str] | None:
        scope = request.scope or (Scope.INVENTORY if product and not request.widen else Scope.PREDICTED_TYPE)
        said = frozenset(answer.derived_types) or None
        if scope is Scope.PREDICTED_TYPE and product is None:
            # Recognition is another matter; whatever it says is searched.
            return said
        if scope is Scope.INVENTORY:
            types = None
        elif scope is Scope.DERIVED_TYPES:
            types = frozenset(request.derived_types)
        else:
            assert product is not None
            genders = (*Gender, None) if product.gender is None else (product.gender, None)
            may_be = {f"{each.value} {product.article_type}" if each else product.article_type for each in genders}
            types = frozenset(may_be & {*self.oracle.values("derived_type")}) | {product.derived_type}
        if types != said:
            raise Wrong("scope", f"searched {said}, not {types}")
        return types

    def _hold(
        self,
        answer: Answered,
        expected: Expected,
        eligibility: Eligibility,
        request: SimilarRequest,
        direction: NDArray[np.float32],
    ) -> None:
        ids = [hit.product_id for hit in answer.hits]
        if ids != expected.ids:
            raise self._difference(ids, expected.ids, eligibility, direction)
        for hit, wanted in zip(answer.hits, expected.hits, strict=True):
            product = self.oracle.rows[hit.product_id].product
            if hit.similarity != wanted.similarity or (hit.rank_score or wanted.value) != wanted.value:
                raise Wrong("similarity", f"{hit}, not {wanted}")
            if hit.rung != wanted.rung:
                raise Wrong("rung", f"{hit}, not {wanted}")
            if (hit.rank_score is None) != (not request.boosts):
                raise Wrong("similarity", f"the rank score of {hit}")
            if hit.facts is not None and hit.facts != facts_of(product):
                raise Wrong("stale", f"{hit.facts}, not {facts_of(product)}")
            if hit.variants is not None and (
                hit.variants != wanted.variants[:_MAX_NAMED_VARIANTS] or hit.variant_count != len(wanted.variants)
            ):
                raise Wrong("variants", f"{hit}, not {wanted.variants}")
        said = (answer.eligible_count, answer.excluded_colours, answer.left_out, answer.other_currencies)
        right = (expected.eligible_count, expected.excluded_colours, expected.left_out, expected.other_currencies)
        if said != right:
            raise Wrong("counts", f"{said}, not {right}")
        self._hold_rungs(answer, expected, eligibility)
        requested, searched, dissimilar, surplus, returned = answer.sums
        if (
            (requested, returned) != (request.top_k, len(ids))
            or searched != sum(answer.left_out) + dissimilar + surplus + returned
            or dissimilar + surplus + returned != answer.eligible_count
            or (returned < requested and surplus)
        ):
            raise Wrong("counts", f"do not add up: {answer.sums}, {answer.left_out}")

    def _hold_rungs(self, answer: Answered, expected: Expected, eligibility: Eligibility) -> None:
        ladder, types = eligibility.ladder, eligibility.derived_types
        if ladder is None or types is None or expected.rung is None:
            steps: tuple[frozenset[str], ...] = ()
        else:
            steps = (types, ladder.article_types, ladder.sub_categories, ladder.master_categories)[: expected.rung + 1]
        counts = Counter(hit.rung for hit in answer.hits)
        wanted = tuple((labels, counts[rung]) for rung, labels in enumerate(steps))
        if answer.rungs != wanted:
            raise Wrong("rungs", f"{answer.rungs}, not {wanted}")

    def _difference(
        self, ids: Sequence[str], expected: Sequence[str], eligibility: Eligibility, direction: NDArray[np.float32]
    ) -> Wrong:
        """Says what is wrong about products that are not the expected ones."""
        if len({*ids}) < len(ids):
            return Wrong("twice", f"{ids}")
        if strangers := [each for each in ids if each not in self.oracle.rows]:
            return Wrong("deleted", f"{strangers}")
        each_alone = replace(eligibility, collapse=Collapse.NONE)
        eligible = self.oracle.answer(direction, len(self.oracle.rows), each_alone).ids
        if strangers := sorted({*ids} - {*eligible}):
            return Wrong("forbidden", f"{strangers}")
        if missing := sorted({*expected} - {*ids}):
            return Wrong("missing", f"{missing} of {expected}; got {ids}")
        return Wrong("order", f"{ids}, not {expected}")


def _ladder_said(answer: Answered) -> Ladder:
    """Returns the ladder that an answer names; what it did not reach is empty."""
    labels = [*(labels for labels, _ in answer.rungs), *[frozenset[str]()] * 4]
    return Ladder(*labels[1:4])


def _subjects(request: SimilarRequest) -> list[str]:
    """Returns the products that a request is about, in its order."""
    query = [request.query] if isinstance(request.query, str) else []
    return [*query, *request.liked_ids, *request.disliked_ids]
