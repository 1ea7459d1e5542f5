"""When to doubt an answer: how many types to search for an unsure query, and when nothing is really like it."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.dataset.labels import PhotographLabel
from offline.evaluate.coarse_types import CoarseTypes
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import MISSING, TOP_K
from services.contract.values import DerivedTypePrediction
from services.search.filters.filter import Filter, LabelFilter

THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6)
TYPES_SEARCHED: Final = (1, 2, 3)
# The shares of queries whose like is there that may be told that nothing is really like them.
_FALSE_SHARES: Final = (0.01, 0.05, 0.1)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Queries of one kind.

    Attributes:
        name: such as "studio shots".
        queries: as embedded.
        meant: per query the labels, of derived types or of article types, that are right.
        attribute: which of the two.
    """

    name: str
    queries: ProductTable
    meant: Sequence[frozenset[str]]
    attribute: str

    @classmethod
    def studio(cls, queries: ProductTable) -> "Asked":
        """Studio shots, of which the derived type is right."""
        return cls("studio shots", queries, [frozenset({label}) for label in queries.derived_types], "derived_type")

    @classmethod
    def photographs(cls, queries: ProductTable, labels: Mapping[str, PhotographLabel], types: CoarseTypes) -> "Asked":
        """People's photographs, of which nobody knows the gender: an article type that the label may mean is right."""
        meant = [
            types.meant(labels[product_id].label, own)
            for product_id, own in zip(queries.ids, queries.article_types, strict=True)
        ]
        return cls("people's photographs", queries, meant, "article_type")


def doubt_figures(
    asked: Sequence[Asked], catalogue: ProductTable, service: LocalService, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Measures both kinds of doubt, for each kind of queries."""
    doubt = service.doubt
    threshold = None if doubt is None else doubt.unsure_below
    return {
        "unsure_below": threshold,
        "nearest_similarity": None if doubt is None else list(doubt.similarities),
        "unsure": {each.name: _unsure(each, catalogue, service, threshold or 0.0, advance) for each in asked},
        "nothing_like_it": {each.name: _nothing_like_it(each, catalogue, service, advance) for each in asked},
    }


def searches(asked: Sequence[Asked]) -> int:
    """Returns the number of searches of `doubt_figures`."""
    return (len(TYPES_SEARCHED) + 2) * sum(len(each.queries) for each in asked)


def _unsure(
    asked: Asked, catalogue: ProductTable, service: LocalService, served: float, advance: Callable[[int], None]
) -> list[dict[str, float]]:
    answers = service.classify(asked.queries)
    confidence = np.array([1.0 if each.confidence is None else each.confidence for each in answers])
    right = np.array(
        [
            bool(each.derived_types) and _best(each.derived_types[0], asked.attribute) in meant
            for each, meant in zip(answers, asked.meant, strict=True)
        ]
    )
    labels = np.array([*(getattr(each, asked.attribute) for each in catalogue.products), ""], dtype=object)
    found: dict[int, NDArray[np.bool_]] = {}
    shown: dict[int, NDArray[np.bool_]] = {}
    for count in TYPES_SEARCHED:
        types = [frozenset(kind.label for kind in each.derived_types[:count]) for each in answers]
        results = service.search_types(types, asked.queries, TOP_K, advance)
        shown[count] = results != MISSING
        found[count] = np.array(
            [[label in meant for label in labels[row]] for row, meant in zip(results, asked.meant, strict=True)]
        )
    rows = []
    for threshold in sorted({*THRESHOLDS, served} - {0.0}):
        unsure = confidence < threshold
        row = {
            "threshold": threshold,
            "unsure": float(unsure.mean()),
            "wrong_if_unsure": float(1 - right[unsure].mean()) if unsure.any() else 0.0,
            "wrong_if_sure": float(1 - right[~unsure].mean()) if (~unsure).any() else 0.0,
        }
        for count in TYPES_SEARCHED:
            good = np.where(unsure[:, None], found[count], found[1])
            there = np.where(unsure[:, None], shown[count], shown[1])
            row[f"precision_{count}"] = float(((good & there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)).mean())
            row[f"all_{count}"] = float(((good | ~there).all(axis=1) & there.any(axis=1)).mean())
            some = unsure if unsure.any() else ~unsure
            row[f"any_of_unsure_{count}"] = float((good & there)[some].any(axis=1).mean())
        rows.append(row)
    return rows


def _best(prediction: DerivedTypePrediction, attribute: str) -> str:
    return prediction.label if attribute == "derived_type" else prediction.article_type


def _nothing_like_it(
    asked: Asked, catalogue: ProductTable, service: LocalService, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Compares the most similar product of a whole catalogue with that of one without the query's coarse type."""
    types = CoarseTypes.load()
    by_coarse: dict[str, set[str]] = {}
    for product in catalogue.products:
        by_coarse.setdefault(types.coarse(product.sub_category, product.article_type), set()).add(product.sub_category)
    filters = [
        Filter(sub_category=LabelFilter(none_of=tuple(sorted(by_coarse.get(types.coarse(sub), set()) | {sub}))))
        for sub in asked.queries.sub_categories
    ]
    there = service.top_similarities(asked.queries, [Filter()] * len(filters), advance)
    gone = service.top_similarities(asked.queries, filters, advance)
    doubt = service.doubt
    assert doubt is not None
    usual = doubt.similarities[0]
    limits = {"q01 of the catalogue": usual}
    limits |= {f"{share:.0%} of those whose like is there": float(np.quantile(there, share)) for share in _FALSE_SHARES}
    limits |= {f"{factor:g} x q01": factor * usual for factor in (0.7, 0.75, 0.8, 0.85, 0.9)}
    return {
        name: {
            "similarity": limit,
            "said_where_it_is_there": float((there < limit).mean()),
            "said_where_it_is_not": float((gone < limit).mean()),
        }
        for name, limit in limits.items()
    }


def doubt_page(document: Mapping[str, Any]) -> str:
    """Returns the figures as a page of Markdown."""
    nearest = document["nearest_similarity"]
    lines = [
        "# When to doubt an answer",
        "",
        textwrap.fill(
            f"Model `{document['model']}`, version `{document['model_version']}`; a catalogue of "
            f"{document['catalogue']:,} products. {document['source']}",
            120,
            break_on_hyphens=False,
        ),
        "",
        "```sh",
        document["command"],
        "```",
        "",
        "## How many types to search",
        "",
        _UNSURE.format(threshold=document["unsure_below"]),
    ]
    for name, rows in document["unsure"].items():
        lines += [
            "",
            f"{name[0].upper()}{name[1:]} ({document['queries'][name]:,}), in per cent:",
            "",
            "| confidence below | unsure | wrong among them / others | one type | two types | three types |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in rows:
            cells = [
                f"{100 * row[f'precision_{count}']:.1f} · {100 * row[f'all_{count}']:.1f} · "
                f"{100 * row[f'any_of_unsure_{count}']:.1f}"
                for count in TYPES_SEARCHED
            ]
            served = " (served)" if row["threshold"] == document["unsure_below"] else ""
            wrong = f"{100 * row['wrong_if_unsure']:.0f} / {100 * row['wrong_if_sure']:.0f}"
            lines.append(
                f"| {row['threshold']:.2f}{served} | {100 * row['unsure']:.1f} | {wrong} | {' | '.join(cells)} |"
            )
    lines += ["", "## When nothing is really like it", "", _NOTHING.format(nearest=nearest[0])]
    for name, limits in document["nothing_like_it"].items():
        lines += [
            "",
            f"{name[0].upper()}{name[1:]}:",
            "",
            "| said below | similarity | said, its like is there | said, its like is not there |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {limit} | {row['similarity']:.3f} | {100 * row['said_where_it_is_there']:.1f} % | "
                f"{100 * row['said_where_it_is_not']:.1f} % |"
                for limit, row in limits.items()
            ),
        ]
    return "\n".join(lines) + "\n"


_UNSURE: Final = """Below a confidence, the likeliest derived types are searched together and merged by similarity.
The service takes two of them below {threshold:.3f}, which it measures on its own catalogue. Each cell has the share of
right results among ten, the share of queries with ten right ones, and the share of unsure queries with any right one:
by derived type for studio shots, by article type for photographs."""
_NOTHING: Final = """`GetIndex` says how similar the catalogue's products are to their nearest ones; 1 % of them lie
below {nearest:.3f} (q01). Each query is asked for twice: in the whole catalogue, and in one without its coarse type (no
shoes for a shoe), where nothing is really like it. A good threshold is rarely said in the first case, and often in the
second. The storefront says it below q01 for a product, and below 0.75 x q01 for a photograph."""
