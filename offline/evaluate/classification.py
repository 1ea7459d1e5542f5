"""How often the classifier is right, and how often other ways to find the same labels are right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService, unit
from offline.measure.metrics import (
    MISSING,
    Codes,
    Interval,
    bootstrap_interval,
    confusion_matrix,
    encode_labels,
    f1_by_class,
    macro_f1,
    vote,
)
from services.classifier.heads import LabelHead, most_similar

NEIGHBOURS: Final = 20
# A neighbour whose similarity is lower by this much than the first one's counts a third; chosen on the validation part.
_SOFTNESS: Final = 0.06
# The way of the services to find derived types, and with them article type and gender.
SERVED_METHOD: Final = "service"
# The label of products whose gender nobody knows.
_UNKNOWN: Final = "(unknown)"
# Draws of the types that the head has to forget, and their share.
_DRAWS: Final = 5
_FORGOTTEN_SHARE: Final = 0.2
_MIN_TYPES: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class LabelFigures:
    """How often one label is found.

    Attributes:
        method: the way that serves users.
        accuracy: the share of queries whose label that way finds, in [0, 1].
        interval: 95 % confidence interval of the accuracy.
        macro_f1: unweighted mean F1 of the classes that the queries hold.
        classes: the number of labels in catalogue and queries together.
        classes_of_queries: the number of labels in the queries.
        by_method: accuracy per way, the served one first.
        labels: shape (c,), every label that is the truth or an answer, in alphabetical order.
        confusion: int64, shape (c, c), rows are the truth, columns the answers of the served way.
    """

    method: str
    accuracy: float
    interval: Interval
    macro_f1: float
    classes: int
    classes_of_queries: int
    by_method: Mapping[str, float]
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    def worst(self, count: int, at_least: int) -> list[tuple[str, float, int]]:
        """Returns the labels with the lowest F1 and their queries, of the labels with `at_least` queries."""
        support = self.confusion.sum(axis=1)
        scored = zip(self.labels, f1_by_class(self.confusion).tolist(), support.tolist(), strict=True)
        frequent = [row for row in scored if row[2] >= at_least]
        return sorted(frequent, key=lambda row: (row[1], row[0]))[:count]


@dataclass(frozen=True, slots=True)
class UnknownTypes:
    """How often derived types are found that the classifier's head does not know: means over several draws of them.

    The head forgets the drawn types, but the network below it learned from them. Types that are new to the network too
    may be found less often.

    Attributes:
        draws: the number of draws.
        share: the share of the derived types per draw.
        unknown: accuracy for queries of the drawn types, which candidates find.
        unknown_with_head: accuracy for the same queries where the head knows their types.
        known: accuracy for all other queries.
        known_with_head: accuracy for the others where the head knows all types.
        taken_for_unknown: the share of the others that get a drawn type as answer.
    """

    draws: int
    share: float
    unknown: float
    unknown_with_head: float
    known: float
    known_with_head: float
    taken_for_unknown: float


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationEvaluation:
    """All figures of classification.

    Attributes:
        queries: the number of queries.
        sub_category: by the trained head.
        article_type: by the first derived type of the answer.
        gender: by the first derived type of the answer.
        derived_type: by the way of the services.
        unknown_types: None where no head knows types, or the catalogue holds queries.
    """

    queries: int
    sub_category: LabelFigures
    article_type: LabelFigures
    gender: LabelFigures
    derived_type: LabelFigures
    unknown_types: UnknownTypes | None


def evaluate_classification(
    queries: ProductTable,
    catalogue: ProductTable,
    service: LocalService,
    heads: Mapping[str, LabelHead],
    seed: int,
    advance: Callable[[int], None],
) -> ClassificationEvaluation:
    """Classifies queries in every way, and compares the answers with their labels.

    Args:
        queries: the products to classify.
        catalogue: the products that give candidates and neighbours.
        service: the services over the catalogue.
        heads: the bundle's heads by the attribute that they know: "articleType", "gender", …; may lack any.
        seed: seeds the confidence intervals and the draws of types.
        advance: takes how many more queries are done.
    """
    served = service.classify(queries)
    first = [answer.derived_types[0] if answer.derived_types else None for answer in served]
    neighbours = service.serve("inventory", queries, NEIGHBOURS, advance).results
    weights = neighbour_weights(queries, catalogue, neighbours)

    def by_neighbours(labels: Sequence[str]) -> list[str | None]:
        known, (codes,) = encode_labels([*labels])
        return [known[code] if code >= 0 else None for code in vote(codes, neighbours, weights).tolist()]

    def figures(
        truth: Sequence[str | None], of_catalogue: Sequence[str | None], methods: Mapping[str, Sequence[str | None]]
    ) -> LabelFigures:
        known, of_known = ([label or _UNKNOWN for label in labels] for labels in (truth, of_catalogue))
        answers = {**methods, "neighbours": by_neighbours(of_known)}
        # What is not known cannot be judged, unless nothing is.
        judged = [at for at, label in enumerate(truth) if label is not None] or range(len(truth))
        return label_figures(
            [known[at] for at in judged],
            of_known,
            {name: [labels[at] for at in judged] for name, labels in answers.items()},
            seed,
        )

    def by_head(name: str) -> dict[str, Sequence[str | None]]:
        head = heads.get(name)
        return {} if head is None or not head.labels else {"head": most_similar(unit(queries.embeddings), head)}

    derived_types: dict[str, Sequence[str | None]] = {
        SERVED_METHOD: [None if best is None else best.label for best in first]
    }
    unknown_types = None
    if not set(queries.ids) & set(catalogue.ids):
        # A candidate that a query is part of would recognise it.
        derived_types["candidates"] = service.derived_types(queries, trained=())
        unknown_types = evaluate_unknown_types(queries, catalogue, service, heads, seed)
    return ClassificationEvaluation(
        queries=len(queries),
        sub_category=figures(
            queries.sub_categories,
            catalogue.sub_categories,
            {"service": [answer.sub_categories[0].label if answer.sub_categories else None for answer in served]}
            | by_head("subCategory"),
        ),
        article_type=figures(
            queries.article_types,
            catalogue.article_types,
            {SERVED_METHOD: [None if best is None else best.article_type for best in first]} | by_head("articleType"),
        ),
        gender=figures(
            queries.genders,
            catalogue.genders,
            {
                SERVED_METHOD: [
                    None if best is None else best.gender.value if best.gender else _UNKNOWN for best in first
                ]
            }
            | by_head("gender"),
        ),
        derived_type=figures(
            queries.derived_types,
            catalogue.derived_types,
            derived_types | by_head("derivedType"),
        ),
        unknown_types=unknown_types,
    )


def neighbour_weights(queries: ProductTable, catalogue: ProductTable, neighbours: Codes) -> NDArray[np.float32]:
    """Returns the weights of the neighbours' votes, which fall with their similarity.

    Args:
        queries: n products.
        catalogue: the products that the neighbours are among.
        neighbours: int64, shape (n, k), rows of the catalogue, the most similar first, MISSING where there are fewer.

    Returns:
        float32, shape (n, k), in [0, 1].
    """
    weights = np.zeros(neighbours.shape, dtype=np.float32)
    for row, (query, places) in enumerate(zip(unit(queries.embeddings), neighbours, strict=True)):
        near = unit(catalogue.embeddings[places]) @ query
        weights[row] = np.where(places == MISSING, 0.0, np.exp((near - near[0]) / _SOFTNESS))
    return weights


def evaluate_unknown_types(
    queries: ProductTable, catalogue: ProductTable, service: LocalService, heads: Mapping[str, LabelHead], seed: int
) -> UnknownTypes | None:
    """Makes the head forget a fifth of the catalogue's derived types, several times, and classifies all queries.

    Args:
        queries: products that the catalogue does not hold.
        catalogue: the products of `service`.
        service: the services over the catalogue.
        heads: the bundle's heads.
        seed: seeds the draws.

    Returns:
        The figures; None where the head knows too few of the catalogue's types, or no draw holds a query.
    """
    head = heads.get("derivedType")
    types = sorted(set(catalogue.derived_types) & set(head.labels if head is not None else ()))
    if len(types) < _MIN_TYPES:
        return None
    truth = np.array(queries.derived_types, dtype=object)
    with_head = np.array(service.derived_types(queries, trained=types), dtype=object)
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(_DRAWS):
        forgotten = set(random.choice(types, round(_FORGOTTEN_SHARE * len(types)), replace=False).tolist())
        answers = np.array(service.derived_types(queries, trained=set(types) - forgotten), dtype=object)
        unknown = np.array([label in forgotten for label in truth])
        if unknown.any() and not unknown.all():
            taken = np.array([label in forgotten for label in answers])
            right, right_with_head = answers == truth, with_head == truth
            columns = (right[unknown], right_with_head[unknown], right[~unknown], right_with_head[~unknown])
            rows.append([*(float(column.mean()) for column in columns), float(taken[~unknown].mean())])
    if not rows:
        return None
    return UnknownTypes(len(rows), _FORGOTTEN_SHARE, *np.mean(rows, axis=0).tolist())


def label_figures(
    truth: Sequence[str], of_catalogue: Sequence[str], methods: Mapping[str, Sequence[str | None]], seed: int
) -> LabelFigures:
    """Compares the answers of several ways with the truth; the first way is the one that serves users.

    Args:
        truth: shape (n,), at least one.
        of_catalogue: the catalogue's labels.
        methods: answers per way, shape (n,) each, None for no answer.
        seed: seeds the confidence interval.
    """
    served = next(iter(methods))
    nothing = "(none)"
    answers = {name: [nothing if label is None else label for label in labels] for name, labels in methods.items()}
    labels, (truth_codes, served_codes) = encode_labels([*truth], [*answers[served]])
    right = {name: np.array([a == b for a, b in zip(truth, column, strict=True)]) for name, column in answers.items()}
    (interval,) = bootstrap_interval(right[served][:, None], seed)
    confusion = confusion_matrix(truth_codes, served_codes, len(labels))
    return LabelFigures(
        method=served,
        accuracy=float(right[served].mean()),
        interval=interval,
        macro_f1=macro_f1(confusion),
        classes=len({*truth, *of_catalogue}),
        classes_of_queries=len(set(truth)),
        by_method={name: float(flags.mean()) for name, flags in right.items()},
        labels=labels,
        confusion=confusion,
    )
