"""How well photographs that people took of their own clothes are recognised, and what they find."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.labels import PhotographLabel
from offline.evaluate.alterations import Alteration, mixed
from offline.evaluate.coarse_types import BAGS, CoarseTypes
from offline.evaluate.photograph_figures import (
    Calibration,
    Doubt,
    LabelRow,
    PhotographEvaluation,
    Recognition,
    SearchRow,
    Share,
    StudioRow,
)
from offline.evaluate.products import ProductTable
from offline.evaluate.reported import Path
from offline.evaluate.served import LocalService, unit
from offline.measure.calibration import (
    area_under_curve,
    expected_calibration_error,
    reliability,
    thresholds,
)
from offline.measure.metrics import (
    MISSING,
    TOP_K,
    Codes,
    Flags,
    Values,
    all_right,
    bootstrap_interval,
    encode_labels,
    precision,
    right_results,
)
from services.contract.values import Classification

CATALOGUE: Final = "the catalogue"
OTHER_PEOPLES: Final = "other people's photographs"
EVERYBODYS: Final = "photographs, the sender's own too"
_DOUBTED_SHARES: Final = (0.05, 0.1, 0.2)
_WORST: Final = 20


def _turn(transposition: Image.Transpose) -> Alteration:
    return lambda picture, random: picture.transpose(transposition)


# What becomes of studio shots, for comparison. "mixed" alters as `fashion evaluate robustness` does.
STUDIO_ALTERATIONS: Final[Mapping[str, Alteration]] = {
    "turned by 90°": _turn(Image.Transpose.ROTATE_90),
    "turned by 180°": _turn(Image.Transpose.ROTATE_180),
    "turned by 270°": _turn(Image.Transpose.ROTATE_270),
    "mixed": mixed,
}


class _Asked:
    """Queries with what the classifier answers to them, and which of it is right."""

    def __init__(
        self,
        queries: ProductTable,
        labels: Sequence[PhotographLabel] | None,
        service: LocalService,
        types: CoarseTypes,
        seed: int,
    ) -> None:
        """Classifies the queries; `labels` are those of photographs, None for studio shots."""
        self.queries = queries
        self.labels = labels
        self.seed = seed
        answers = service.classify(queries)
        self.coarse = [types.coarse(label) for label in queries.sub_categories]
        if labels is None:
            self.meant = [frozenset({label}) for label in queries.article_types]
            self.groups = np.arange(len(queries), dtype=np.int64)
        else:
            self.meant = [
                types.meant(label.label, own) for label, own in zip(labels, queries.article_types, strict=True)
            ]
            _, (self.groups,) = encode_labels([label.sender for label in labels])
        sub_categories = [answer.sub_categories[0].label if answer.sub_categories else "" for answer in answers]
        self.coarse_answers = [types.coarse(label) for label in sub_categories]
        self.article_answers = [
            answer.derived_types[0].article_type if answer.derived_types else "" for answer in answers
        ]
        self.sub_category_right = _equal(sub_categories, queries.sub_categories)
        self.coarse_right = _equal(self.coarse_answers, self.coarse)
        self.article_right = np.array(
            [answer in meant for answer, meant in zip(self.article_answers, self.meant, strict=True)], dtype=np.bool_
        )
        self.derived_type_right = _equal(
            [answer.derived_types[0].label if answer.derived_types else "" for answer in answers],
            queries.derived_types,
        )
        self.probabilities = np.array([_probability(answer) for answer in answers], dtype=np.float64)
        self.is_bag = np.array([label == BAGS for label in self.coarse], dtype=np.bool_)
        self.taken_for_bag = np.array([label == BAGS for label in self.coarse_answers], dtype=np.bool_) & ~self.is_bag
        # NaN where nothing is recognised, or the classifier does not say how likely it is.
        self.derived_probabilities = np.array(
            [answer.derived_types[0].probability if answer.derived_types else None for answer in answers], np.float64
        )
        self.article_probabilities = np.array([answer.confidence for answer in answers], np.float64)

    def recognition(self, rows: Flags | None = None) -> Recognition:
        rows = np.ones(len(self.queries), dtype=np.bool_) if rows is None else rows
        return Recognition(
            queries=int(rows.sum()),
            coarse=self.mean(self.coarse_right, rows),
            sub_category=self.mean(self.sub_category_right, rows),
            article_type=self.mean(self.article_right, rows),
            taken_for_bag=self.mean(self.taken_for_bag, rows & ~self.is_bag),
        )

    def mean(self, values: NDArray[np.generic], rows: Flags | None = None) -> Share:
        """Returns the mean of shape (n,), or of some of its rows; 0 of none."""
        groups = self.groups
        if rows is not None:
            values, groups = values[rows], groups[rows]
        # One sender says nothing about others.
        some = values[:, None] if len(np.unique(groups)) > 1 else values[:0, None]
        (interval,) = bootstrap_interval(some, self.seed, groups=groups[: len(some)])
        return Share(float(values.mean()) if len(values) else 0.0, interval)

    def article_results(self, catalogue: ProductTable, results: Codes) -> Flags:
        """Tells which results are of an article type that the label may mean: bool, shape (n, k)."""
        labels, (codes,) = encode_labels([*catalogue.article_types])
        sets = sorted(set(self.meant), key=sorted)
        place = {meant: at for at, meant in enumerate(sets)}
        within = np.array([[label in meant for label in labels] for meant in sets], dtype=np.bool_)
        rows = np.array([place[meant] for meant in self.meant])
        return np.asarray(within[rows[:, None], codes[results]] & (results != MISSING))


def evaluate_photographs(
    photographs: ProductTable,
    labels: Mapping[str, PhotographLabel],
    catalogue: ProductTable,
    shop: ProductTable,
    service: LocalService,
    make_service: Callable[[ProductTable], LocalService],
    studio: Mapping[str, ProductTable],
    seed: int,
    advance: Callable[[int], None],
) -> PhotographEvaluation:
    """Asks for photographs as shoppers do, and compares the answers with what the senders say they show.

    Nobody knows whom the garments are for, so that neither gender nor derived type is judged.

    Args:
        photographs: n photographs.
        labels: sender and label by id; those of the catalogue too where it holds photographs.
        catalogue: the products to search; it may be the photographs themselves.
        shop: the photographs as products; ignored where the catalogue holds them.
        service: the services over the catalogue.
        make_service: makes the services over another catalogue.
        studio: studio shots by alteration, unaltered ones first; none to leave them out.
        seed: seeds the confidence intervals.
        advance: takes how many more of all `searches` are done.
    """
    types = CoarseTypes.load()
    asked = _Asked(photographs, [labels[product_id] for product_id in photographs.ids], service, types, seed)
    among_themselves = catalogue.holds(photographs)
    shop_products = catalogue if among_themselves else shop
    shop_service = service if among_themselves else make_service(shop)
    others = _same_sender(photographs, labels)

    def search(of: LocalService, path: Path, apart: Sequence[Collection[str]] | None = None) -> Codes:
        return of.serve(path, photographs, TOP_K, advance, apart).results

    in_shop = search(shop_service, "inventory", others)
    with_own = search(shop_service, "inventory")
    rows = [
        _search_row(searched, "inventory", asked, shop_products, found, types, exact=True)
        for searched, found in ((OTHER_PEOPLES, in_shop), (EVERYBODYS, with_own))
    ]
    results = in_shop
    if not among_themselves:
        results = search(service, "inventory")
        narrowed = search(service, "photograph")
        rows += [
            _search_row(CATALOGUE, "inventory", asked, catalogue, results, types, exact=False),
            _search_row(CATALOGUE, "photograph", asked, catalogue, narrowed, types, exact=False),
        ]
    shots = {name: _Asked(table, None, service, types, seed) for name, table in studio.items()}
    unaltered = next(iter(shots.values()), None)
    right = _coarse_results(asked, catalogue, results, types)
    shop_right, _ = right_results(photographs.article_types, shop_products.article_types, in_shop)
    return PhotographEvaluation(
        senders=len(np.unique(asked.groups)),
        recognition=asked.recognition(),
        search=rows,
        studio=[StudioRow(name, shot.recognition()) for name, shot in shots.items()],
        calibration=_calibrations(asked, unaltered),
        doubt=_doubts(asked, results, unaltered, service, catalogue, advance),
        by_label=_by_label(
            asked,
            precision(shop_right, in_shop),
            None if among_themselves else precision(right, results),
        ),
        worst=_worst(asked),
        answers=[*zip(asked.coarse_answers, asked.article_answers, asked.probabilities.tolist(), strict=True)],
        results=results,
        right_results=right,
    )


def searches(photographs: ProductTable, catalogue: ProductTable, studio: int) -> int:
    """Returns the number of searches of `evaluate_photographs` with this many studio shots."""
    return (2 if catalogue.holds(photographs) else 4) * len(photographs) + studio


def _same_sender(photographs: ProductTable, labels: Mapping[str, PhotographLabel]) -> list[frozenset[str]]:
    ids: dict[str, set[str]] = {}
    for product_id, label in labels.items():
        ids.setdefault(label.sender, set()).add(product_id)
    of_sender = {sender: frozenset(own) for sender, own in ids.items()}
    return [of_sender[labels[product_id].sender] for product_id in photographs.ids]


def _coarse_results(asked: _Asked, catalogue: ProductTable, results: Codes, types: CoarseTypes) -> Flags:
    of_catalogue = [types.coarse(product.sub_category, product.article_type) for product in catalogue.products]
    right, _ = right_results(asked.coarse, of_catalogue, results)
    return right


def _search_row(
    searched: str,
    path: Path,
    asked: _Asked,
    catalogue: ProductTable,
    results: Codes,
    types: CoarseTypes,
    *,
    exact: bool,
) -> SearchRow:
    """Judges results; `exact` asks for the photograph's own article type rather than one that its label may mean."""
    coarse = _coarse_results(asked, catalogue, results, types)
    article = asked.article_results(catalogue, results)
    if exact:
        article, _ = right_results(asked.queries.article_types, catalogue.article_types, results)
    return SearchRow(
        searched=searched,
        path=path,
        products=len(catalogue),
        coarse_precision=asked.mean(precision(coarse, results)),
        coarse_all=asked.mean(all_right(coarse, results)),
        article_precision=asked.mean(precision(article, results)),
        article_all=asked.mean(all_right(article, results)),
    )


def _calibrations(asked: _Asked, studio: _Asked | None) -> list[Calibration]:
    found = []
    for of, each in (("photographs", asked), ("studio shots", studio)):
        if each is None:
            continue
        kinds = [
            ("subCategory", each.probabilities, each.coarse_right if each is asked else each.sub_category_right),
            ("articleType", each.article_probabilities, each.article_right),
        ]
        if each is studio:
            kinds.append(("derivedType", each.derived_probabilities, each.derived_type_right))
        for label, probabilities, right in kinds:
            known = ~np.isnan(probabilities)
            if known.any():
                bins = reliability(probabilities[known], right[known])
                found.append(
                    Calibration(
                        of=of,
                        label=label,
                        answers=int(known.sum()),
                        error=expected_calibration_error(bins),
                        probability=float(probabilities[known].mean()),
                        right=float(right[known].mean()),
                        bins=bins,
                    )
                )
    return found


def _doubts(
    asked: _Asked,
    results: Codes,
    studio: _Asked | None,
    service: LocalService,
    catalogue: ProductTable,
    advance: Callable[[int], None],
) -> list[Doubt]:
    similarities = _top_similarities(asked.queries, catalogue, results)
    # A subCategory that the head does not know has no probability, which is no reason to believe it.
    probabilities = np.nan_to_num(asked.probabilities)
    signs = [("top similarity", similarities), ("probability", probabilities)]
    of_studio: list[Values | None] = [None, None]
    if studio is not None:
        found = service.serve("inventory", studio.queries, 1, advance).results
        of_studio = [_top_similarities(studio.queries, catalogue, found), np.nan_to_num(studio.probabilities)]
    doubts = []
    for (sign, values), others in zip(signs, of_studio, strict=True):
        tells_studio = None
        if others is not None:
            is_studio = np.arange(len(others) + len(values)) < len(others)
            tells_studio = area_under_curve(np.concatenate([others, values]), is_studio)
        right = asked.coarse_right
        tells_right = area_under_curve(values, right)
        doubts.append(Doubt(sign, tells_right, tells_studio, thresholds(values, right, _DOUBTED_SHARES)))
    return doubts


def _top_similarities(queries: ProductTable, catalogue: ProductTable, results: Codes) -> Values:
    """Returns the similarity of each query's first result; -1 without one."""
    first = results[:, 0]
    similarities = np.einsum("nd,nd->n", unit(queries.embeddings), unit(catalogue.embeddings[first]))
    return np.where(first == MISSING, -1.0, similarities).astype(np.float64)


def _by_label(asked: _Asked, in_shop: Values, in_catalogue: Values | None) -> list[LabelRow]:
    names = [label.label for label in asked.labels or ()]
    rows = []
    for label, count in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])):
        of_label = np.array([name == label for name in names])
        wrong = Counter(
            answer
            for answer, mine, right in zip(asked.coarse_answers, of_label, asked.coarse_right, strict=True)
            if mine and not right
        )
        taken_for, times = min(wrong.items(), key=lambda item: (-item[1], item[0]), default=(None, 0))
        recognition = asked.recognition(of_label)
        rows.append(
            LabelRow(
                label=label,
                photographs=count,
                senders=len(np.unique(asked.groups[of_label])),
                coarse=recognition.coarse,
                article_type=recognition.article_type,
                taken_for_bag=recognition.taken_for_bag,
                shop_precision=float(in_shop[of_label].mean()),
                catalogue_precision=None if in_catalogue is None else float(in_catalogue[of_label].mean()),
                taken_for=taken_for,
                taken_for_share=times / count,
            )
        )
    return rows


def _worst(asked: _Asked) -> list[int]:
    """Returns the wrong answers with the highest probability, one per sender, label and answer."""
    rows: dict[tuple[int, str, str], int] = {}
    certain = np.argsort(-np.nan_to_num(asked.probabilities), kind="stable")
    for row in certain[~asked.coarse_right[certain]].tolist():
        label = asked.labels[row].label if asked.labels else ""
        rows.setdefault((int(asked.groups[row]), label, asked.coarse_answers[row]), row)
    return [*rows.values()][:_WORST]


def _equal(answers: Sequence[str], truth: Sequence[str]) -> Flags:
    return np.array([answer == label for answer, label in zip(answers, truth, strict=True)], dtype=np.bool_)


def _probability(answer: Classification) -> float:
    """Returns the probability of the first subCategory; NaN where there is none."""
    first = answer.sub_categories[0].probability if answer.sub_categories else None
    return float("nan") if first is None else first
