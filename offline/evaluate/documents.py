"""The JSON documents of an evaluation: their named keys are a contract, others may be added."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from offline.evaluate.classification import ClassificationEvaluation, LabelFigures
from offline.evaluate.photograph_figures import PhotographEvaluation
from offline.evaluate.products import DroppedProduct, ProductTable
from offline.evaluate.retrieval import Figures, RetrievalEvaluation
from offline.evaluate.robustness import RobustnessRow
from offline.measure.metrics import TOP_K, Interval
from services.contract.values import Subject

# Labels with fewer queries than this are no worst ones: one query decides too much.
_WORST_NEED = 10
_WORST_SHOWN = 10
_OF_SINGLE_PHOTOGRAPHS = frozenset({"worst", "answers", "results", "right_results"})


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of an evaluation.

    Attributes:
        queries: the number of queries.
        catalogue: the number of products to search.
        queries_in_catalogue: the number of queries that the catalogue holds; their answers leave them out.
        leave_one_out: whether the queries are the products of the catalogue.
        model_version: the version of the model.
        model_name: the name of the bundle.
        seed: seeds the confidence intervals, and the choice of queries where there is a limit.
        dropped_queries: queries that are left out, and why.
        dropped_catalogue: products of the catalogue that are left out, and why.
    """

    queries: int
    catalogue: int
    queries_in_catalogue: int
    leave_one_out: bool
    model_version: str
    model_name: str
    seed: int
    dropped_queries: tuple[DroppedProduct, ...]
    dropped_catalogue: tuple[DroppedProduct, ...]

    @classmethod
    def of(
        cls, queries: ProductTable, catalogue: ProductTable, leave_one_out: bool, model: tuple[str, str], seed: int
    ) -> "Inputs":
        """Counts queries and catalogue; `model` is the name and the version of the model."""
        known = set(catalogue.ids)
        return cls(
            queries=len(queries),
            catalogue=len(catalogue),
            queries_in_catalogue=sum(product.id in known for product in queries.products),
            leave_one_out=leave_one_out,
            model_name=model[0],
            model_version=model[1],
            seed=seed,
            dropped_queries=() if leave_one_out else queries.dropped,
            dropped_catalogue=catalogue.dropped,
        )


def retrieval_document(evaluation: RetrievalEvaluation, inputs: Inputs) -> dict[str, Any]:
    """Returns a retrieval evaluation as JSON values; its headline figures are of the inventory and all products."""
    headline = next(one for one in evaluation.figures if (one.path, one.scope) == ("inventory", "all"))
    return {
        **_inputs(inputs),
        "top_k": TOP_K,
        "rows": [
            {
                "path": row.path,
                "scope": row.scope,
                "feature": row.feature,
                "tolerance": row.tolerance,
                "performance": row.performance,
                "queries": row.queries,
                **_ends(row.interval),
                "short_answers": row.short_answers,
                "performance_of_shown": row.performance_of_shown,
                "performance_missing_wrong": row.performance_missing_wrong,
            }
            for row in evaluation.rows
        ],
        "precision_at_10": dict(headline.precision),
        "colour_agreement_at_10": headline.colour_agreement,
        "figures": [_figures(one) for one in evaluation.figures],
    }


def classification_document(evaluation: ClassificationEvaluation, inputs: Inputs) -> dict[str, Any]:
    """Returns a classification evaluation as JSON values, with the confusion matrices."""
    return {
        **_inputs(inputs),
        "subCategory": _label_figures(evaluation.sub_category),
        "articleType": _label_figures(evaluation.article_type),
        "gender": _label_figures(evaluation.gender),
        "derivedType": _label_figures(evaluation.derived_type),
        "unknownTypes": None if evaluation.unknown_types is None else asdict(evaluation.unknown_types),
    }


def robustness_document(rows: Sequence[RobustnessRow], inputs: Inputs, altered: int) -> dict[str, Any]:
    """Returns the figures of altered photographs as JSON values; `altered` is the number of queries."""
    return {**_inputs(inputs), "altered": altered, "rows": [asdict(row) for row in rows]}


def photographs_document(
    evaluation: PhotographEvaluation,
    inputs: Inputs,
    command: str,
    source: str,
    subject: Subject,
    *,
    studio_is_new: bool,
) -> dict[str, Any]:
    """Returns the figures of people's photographs as JSON values, without what belongs to single photographs.

    Args:
        evaluation: the figures.
        inputs: the inputs.
        command: the command that gives the figures again.
        source: one or more sentences on the origin of the photographs; "" for none.
        subject: what counts in a query.
        studio_is_new: whether the studio shots are apart from the catalogue.
    """
    figures = {name: value for name, value in asdict(evaluation).items() if name not in _OF_SINGLE_PHOTOGRAPHS}
    described = {"command": command, "source": source, "subject": subject.value, "studio_is_new": studio_is_new}
    return {**_inputs(inputs), **described, **_without_nan(figures)}


def _inputs(inputs: Inputs) -> dict[str, Any]:
    return {
        "queries": inputs.queries,
        "catalogue": inputs.catalogue,
        "queries_in_catalogue": inputs.queries_in_catalogue,
        "leave_one_out": inputs.leave_one_out,
        "model": inputs.model_name,
        "model_version": inputs.model_version,
        "seed": inputs.seed,
        "dropped": {"queries": _dropped(inputs.dropped_queries), "catalogue": _dropped(inputs.dropped_catalogue)},
    }


def _without_nan(value: Any) -> Any:
    # JSON has no NaN, which the interval of no query has as its ends.
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _dropped(products: Sequence[DroppedProduct]) -> list[dict[str, str]]:
    return [{"id": product.id, "reason": product.reason} for product in products]


def _ends(interval: Interval) -> dict[str, float | None]:
    # JSON has no NaN, which an interval without values has as its ends.
    return {
        "low": None if math.isnan(interval.low) else interval.low,
        "high": None if math.isnan(interval.high) else interval.high,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "path": figures.path,
        "scope": figures.scope,
        "queries": figures.queries,
        "catalogue": figures.catalogue,
        "fell_back_to_inventory": figures.fell_back,
        "precision_at_10": dict(figures.precision),
        "map_at_10": dict(figures.mean_average_precision),
        "ndcg_at_10": figures.ndcg,
        "colour_agreement_at_10": figures.colour_agreement,
        "colour_family_agreement_at_10": figures.colour_family_agreement,
        "intervals": {name: _ends(interval) for name, interval in figures.intervals.items()},
        "curves": {feature: list(values) for feature, values in figures.curves.items()},
    }


def _label_figures(figures: LabelFigures) -> dict[str, Any]:
    return {
        "accuracy": figures.accuracy,
        **_ends(figures.interval),
        "macro_f1": figures.macro_f1,
        "classes": figures.classes,
        "classes_of_queries": figures.classes_of_queries,
        "method": figures.method,
        "by_method": dict(figures.by_method),
        "worst": [
            {"label": label, "f1": f1, "queries": queries}
            for label, f1, queries in figures.worst(_WORST_SHOWN, _WORST_NEED)
        ],
        "confusion": _confusion(figures),
    }


def _confusion(figures: LabelFigures) -> list[dict[str, Any]]:
    """Returns the cells that are not empty, which are few among hundreds of classes."""
    return [
        {"truth": figures.labels[row], "found": figures.labels[column], "queries": int(figures.confusion[row, column])}
        for row, column in zip(*figures.confusion.nonzero(), strict=True)
    ]
