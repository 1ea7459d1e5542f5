"""The tables of an evaluation, for the page and for the terminal; figures are in per cent."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.evaluate.reported import REPORTED_ACCURACY, REPORTED_PERFORMANCE, TARGETS
from offline.evaluate.retrieval import FEATURES, PATHS, SCOPES, TOLERANCES
from offline.report.markdown import Table, percent

LABELS: Final = ("subCategory", "articleType", "gender", "derivedType")


def performance_table(document: Mapping[str, Any], *, brackets: bool) -> Table:
    """Returns the performance per path, scope and feature, with what the report has for it.

    Args:
        document: an evaluation of retrieval.
        brackets: whether to add `performance_of_shown` in brackets where it differs.
    """
    cells = _cells(document)
    rows = []
    for path in PATHS:
        for scope in SCOPES:
            for feature in FEATURES:
                row = [cells.get((path, scope, feature, tolerance)) for tolerance in TOLERANCES]
                if row[0] is None:
                    continue
                reported = [
                    f"{value * 100:.2f}"
                    for tolerance in TOLERANCES
                    if (value := REPORTED_PERFORMANCE.get((path, scope, feature, tolerance))) is not None
                ]
                shares = [_performance(cell, brackets) if cell is not None else "-" for cell in row]
                rows.append((path, scope, feature, f"{row[0]['queries']:,}", *shares, " / ".join(reported) or "-"))
    heading = ("path", "scope", "right by", "queries", "0 wrong", "1 wrong", "2 wrong", "report")
    return Table(heading, rows, range(3, 8))


def figures_table(document: Mapping[str, Any]) -> Table:
    """Returns precision, mAP, nDCG and colour agreements per path and scope, and how many answers were short."""
    short = {(row["path"], row["scope"]): row["short_answers"] for row in document["rows"]}
    rows = [
        (
            figures["path"],
            figures["scope"],
            percent(figures["precision_at_10"]["both"]),
            percent(figures["map_at_10"]["both"]),
            percent(figures["ndcg_at_10"]),
            percent(figures["colour_agreement_at_10"]),
            percent(figures["colour_family_agreement_at_10"]),
            f"{short[figures['path'], figures['scope']]:,}",
        )
        for figures in document["figures"]
    ]
    heading = ("path", "scope", "precision@10", "mAP@10", "nDCG@10", "colour", "colour family", "short answers")
    return Table(heading, rows, range(2, 8))


def classification_table(document: Mapping[str, Any]) -> Table:
    """Returns the accuracy per label, with its interval, macro F1 and what other ways reach."""
    rows = []
    for label in LABELS:
        figures = document[label]
        reported = REPORTED_ACCURACY.get(label)
        rows.append(
            (
                label,
                f"{figures['accuracy'] * 100:.2f}",
                f"{percent(figures['low'])}–{percent(figures['high'])}",
                percent(figures["macro_f1"]),
                f"{figures['classes']}",
                "-" if reported is None else f"{reported * 100:.2f}",
                ", ".join(f"{name} {percent(value)}" for name, value in figures["by_method"].items()),
            )
        )
    return Table(("label", "accuracy", "95 %", "macro F1", "classes", "report", "by method"), rows, range(1, 6))


def targets_table(retrieval: Mapping[str, Any], classification: Mapping[str, Any]) -> Table:
    """Returns each target with what the report and the first try reached, what was measured, and the verdict."""
    cells = _cells(retrieval)
    rows = []
    for target in TARGETS:
        if len(target.where) == 4:
            cell = cells.get(target.where)
            measured = None if cell is None else cell["performance_of_shown"]
        elif target.where[0] == "colour":
            measured = retrieval["colour_agreement_at_10"]
        else:
            ways = classification[target.where[0]]["by_method"]
            measured = max(ways.values()) if target.where[1] == "best" else ways.get(target.where[1])
        if measured is None:
            continue
        short = round((target.reach - measured) * 100, 1)
        verdict = "reached" if short <= 0 else f"{short:.1f} points short"
        figures = (target.reported, target.first, target.reach, measured)
        rows.append((target.name, *(percent(figure) for figure in figures), verdict))
    return Table(("figure", "report", "first try", "target", "measured", ""), rows, range(1, 5))


def robustness_table(document: Mapping[str, Any]) -> Table:
    """Returns the figures per alteration of the photographs."""
    figures = ("sub_category", "derived_type", "inventory", "photograph")
    rows = [
        (row["alteration"], row["description"], *(percent(row[figure]) for figure in figures))
        for row in document["rows"]
    ]
    heading = ("altered", "how", "subCategory", "derivedType", "all 10, inventory", "all 10, photograph")
    return Table(heading, rows, range(2, 6))


def new_types_table(document: Mapping[str, Any]) -> Table:
    """Returns what each network finds of types that are new to it, and of the others."""
    figures = ("new", "new_top_10", "new_precision", "others", "others_top_10", "taken_for_new")
    rows = [(_knowledge(row), *(percent(row[figure]) for figure in figures)) for row in document["rows"]]
    heading = ("network", "new: type", "all 10", "P@10", "others: type", "all 10", "taken for new")
    return Table(heading, rows, range(1, 7))


def backbones_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns the size of each network, its time, and how often all ten results are right."""
    cells = [
        (
            row["name"],
            str(row["side"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['dimension']:,}",
            f"{row['milliseconds']:.1f}",
            percent(row["all_right"]),
        )
        for row in rows
    ]
    return Table(("network", "side", "parameters", "floats", "ms per picture", "all 10 right"), cells, range(1, 6))


def designs_table(document: Mapping[str, Any]) -> Table:
    """Returns how many pairs of one name and two colours there are in each range of similarity."""
    rows = [(row["similarity"], f"{row['pairs']:,}") for row in document["pairs"]]
    return Table(("similarity", "pairs"), rows, range(1, 2))


def short_answer_gap(document: Mapping[str, Any]) -> float:
    """Returns by how many points short answers raise a performance at most above that of what is shown."""
    gaps = [row["performance"] - row["performance_of_shown"] for row in document["rows"]]
    return max(gaps, default=0.0) * 100


def _cells(retrieval: Mapping[str, Any]) -> dict[tuple[str, str, str, float], Mapping[str, Any]]:
    return {(row["path"], row["scope"], row["feature"], row["tolerance"]): row for row in retrieval["rows"]}


def _performance(row: Mapping[str, Any], brackets: bool) -> str:
    value = row["performance"]
    half = max(row["high"] - value, value - row["low"])
    text = f"{percent(value)}±{percent(half)}"
    of_shown = percent(row["performance_of_shown"])
    return f"{text} [{of_shown}]" if brackets and of_shown != percent(value) else text


def _knowledge(row: Mapping[str, Any]) -> str:
    name = f"{row['model']} {row['model_version'][:7]}"
    if not row["learned"]:
        return f"{name}: never learned from them"
    return f"{name}: {'knows them' if row['head_knows'] else 'its head forgets them'}"
