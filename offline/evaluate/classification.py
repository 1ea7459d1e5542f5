"""How often the classifier is right, and how often other ways to find the same labels are."""

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
# A neighbour that is so much less similar than the first counts a third of it; chosen on the validation part.
_SOFTNESS: Final = 0.06
# How the services find derived types, and with them article type and gender.
SERVED_METHOD: Final = "service"
# Of the types that the head is made to forget.
_DRAWS: Final = 5
_FORGOTTEN: Final = 0.2
_FEWEST_TYPES: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class LabelFigures:
    """How often one label was found.

    Attributes:
        method: the way that users are served by.
        accuracy: share of queries whose label that way finds, in [0, 1].
        interval: 95 % confidence interval of it.
        macro_f1: mean F1 of the classes that the queries hold, each counting the same.
        classes: how many labels catalogue and queries hold together.
        classes_of_queries: how many the queries hold.
        by_method: accuracy of each way, the served one first.
        labels: shape (c,), every label that is the truth or was found, in alphabetical order.
        confusion: int64, shape (c, c), rows are the truth, columns what the served way found.
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
        """The labels with the lowest F1, and how many queries hold them, of those that `at_least` queries hold."""
        support = self.confusion.sum(axis=1)
        scored = zip(self.labels, f1_by_class(self.confusion).tolist(), support.tolist(), strict=True)
        frequent = [row for row in scored if row[2] >= at_least]
        return sorted(frequent, key=lambda row: (row[1], row[0]))[:count]


@dataclass(frozen=True, slots=True)
class UnknownTypes:
    """How derived types are found that the classifier's head does not know: means over several draws of them.

    The head forgets the drawn types; the network below it was trained on them all the same, so that types which are
    new to it as well may be found less often.

    Attributes:
        draws: how often types were drawn.
        share: of the derived types that are drawn.
        unknown: accuracy for queries of the drawn types, found by candidates.
        unknown_with_head: accuracy for the same queries where the head knows their types.
        known: accuracy for all other queries.
        known_with_head: accuracy for the others where the head knows all types.
        taken_for_unknown: share of the others that are taken for a drawn type.
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
    """All figures of one run.

    Attributes:
        queries: how many there were.
        sub_category: by the trained head.
        article_type: by the first derived type that users are told.
        gender: by the first derived type that users are told.
        derived_type: the service's way.
        unknown_types: None where no head knows types, or queries are of the catalogue.
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
    """Classifies queries in every known way, and compares with their labels.

    Args:
        queries: what is classified.
        catalogue: where candidates and neighbours come from.
        service: the services over the catalogue.
        heads: the bundle's heads by the attribute that they know: "articleType", "gender", …; may lack any.
        seed: of the confidence intervals.
        advance: told how many more queries are done.

    Returns:
        The figures.
    """
    served = service.classify(queries)
    first = [found.derived_types[0] if found.derived_types else None for found in served]
    neighbours = service.serve("inventory", queries, NEIGHBOURS, advance).results
    weights = neighbour_weights(queries, catalogue, neighbours)

    def by_neighbours(labels: Sequence[str]) -> list[str | None]:
        known, (codes,) = encode_labels([*labels])
        return [known[code] if code >= 0 else None for code in vote(codes, neighbours, weights).tolist()]

    def figures(
        truth: Sequence[str], of_catalogue: Sequence[str], methods: Mapping[str, Sequence[str | None]]
    ) -> LabelFigures:
        voted = {"neighbours": by_neighbours(of_catalogue)}
        return label_figures(truth, of_catalogue, {**methods, **voted}, seed)

    def by_head(name: str) -> dict[str, Sequence[str | None]]:
        head = heads.get(name)
        return {} if head is None or not head.labels else {"head": most_similar(unit(queries.embeddings), head)}

    derived_types: dict[str, Sequence[str | None]] = {
        SERVED_METHOD: [None if found is None else found.label for found in first]
    }
    unknown_types = None
    if not set(queries.ids) & set(catalogue.ids):
        # A mean that a query is part of would recognise it by itself.
        derived_types["candidates"] = service.derived_types(queries, trained=())
        unknown_types = evaluate_unknown_types(queries, catalogue, service, heads, seed)
    return ClassificationEvaluation(
        queries=len(queries),
        sub_category=figures(
            queries.sub_categories,
            catalogue.sub_categories,
            {"service": [found.sub_categories[0].label if found.sub_categories else None for found in served]}
            | by_head("subCategory"),
        ),
        article_type=figures(
            queries.article_types,
            catalogue.article_types,
            {SERVED_METHOD: [None if found is None else found.article_type for found in first]}
            | by_head("articleType"),
        ),
        gender=figures(
            queries.genders,
            catalogue.genders,
            {SERVED_METHOD: [None if found is None else found.gender.value for found in first]} | by_head("gender"),
        ),
        derived_type=figures(
            queries.derived_types,
            catalogue.derived_types,
            derived_types | by_head("derivedType"),
        ),
        unknown_types=unknown_types,
    )


def neighbour_weights(queries: ProductTable, catalogue: ProductTable, neighbours: Codes) -> NDArray[np.float32]:
    """What the votes of neighbours count: the less, the less similar they are than the first.

    Args:
        queries: n of them.
        catalogue: where the neighbours are from.
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
    """Has the head forget a fifth of the catalogue's derived types, several times, and asks for all of them.

    Args:
        queries: products that the catalogue does not hold.
        catalogue: what `service` is over.
        service: the services.
        heads: the bundle's heads.
        seed: of the draws.

    Returns:
        The figures; None where the head knows fewer than two of the catalogue's types, or no draw holds a query.
    """
    head = heads.get("derivedType")
    types = sorted(set(catalogue.derived_types) & set(head.labels if head is not None else ()))
    if len(types) < _FEWEST_TYPES:
        return None
    truth = np.array(queries.derived_types, dtype=object)
    with_head = np.array(service.derived_types(queries, trained=types), dtype=object)
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(_DRAWS):
        forgotten = set(random.choice(types, round(_FORGOTTEN * len(types)), replace=False).tolist())
        found = np.array(service.derived_types(queries, trained=set(types) - forgotten), dtype=object)
        unknown = np.array([label in forgotten for label in truth])
        if unknown.any() and not unknown.all():
            taken = np.array([label in forgotten for label in found])
            right, right_with_head = found == truth, with_head == truth
            columns = (right[unknown], right_with_head[unknown], right[~unknown], right_with_head[~unknown])
            rows.append([*(float(column.mean()) for column in columns), float(taken[~unknown].mean())])
    if not rows:
        return None
    return UnknownTypes(len(rows), _FORGOTTEN, *np.mean(rows, axis=0).tolist())


def label_figures(
    truth: Sequence[str], of_catalogue: Sequence[str], methods: Mapping[str, Sequence[str | None]], seed: int
) -> LabelFigures:
    """Compares what several ways found with the truth; the first is the one that users are served by.

    Args:
        truth: shape (n,), at least one.
        of_catalogue: the catalogue's labels.
        methods: shape (n,) each, None where that way found nothing.
        seed: of the confidence interval.
    """
    served = next(iter(methods))
    nothing = "(none)"
    found = {name: [nothing if label is None else label for label in labels] for name, labels in methods.items()}
    labels, (truth_codes, served_codes) = encode_labels([*truth], [*found[served]])
    right = {name: np.array([a == b for a, b in zip(truth, column, strict=True)]) for name, column in found.items()}
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
