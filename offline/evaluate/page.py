"""Writes an evaluation up for people: the rows of its tables, and the page docs/evaluation.md."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.evaluate.reported import REPORTED_ACCURACY, REPORTED_PERFORMANCE, TARGETS
from offline.evaluate.retrieval import FEATURES, PATHS, SCOPES, TOLERANCES

_PERFORMANCE_TEXT: Final = """\
*Performance* is the project report's measure: the share of queries whose ten results hold at most tolerance x 10 wrong
ones, in per cent. `inventory` searches the whole catalogue; `photograph` searches the derived type that the classifier
finds, as a shopper's photograph is served. `types_500` keeps article types with at least 500 products, catalogue and
queries together, and restricts both to them. The report's own figures were measured on queries that its model had seen
in training."""
_SHORT_ANSWERS_TEXT: Final = """\
Where the derived type holds fewer than ten products, fewer are shown. A place without result is no wrong result, so
to the letter of the measure one wrong product on its own is within a tolerance of 1 in 10. The figure in brackets,
where it differs, is the honest one then: the share of queries with at most that share of wrong results *among those
shown*. The JSON has both, and `performance_missing_wrong`, where a missing result counts as a wrong one; the plots go
by those shown."""
_FIGURES_TEXT: Final = """\
Means over the queries, in per cent. Precision and mAP count a result as right by gender and article type; nDCG grades
it 3 for the derived type in a colour of the same family, 2 for the derived type, 1 for the article type; colour
agreement is the share of results of the query's own main colour, or of its family."""
_CLASSIFICATION_TEXT: Final = """\
`service` is what the classifier answers users: the subCategory by the trained head, the derived type, of those that the
catalogue has, by the head of derived types along with those of article type and gender, rarity counted as the bundle
says; article type and gender by the first derived type. `by method` compares other ways: `head` is the model's own head
for that label by itself, `neighbours` the vote of the twenty nearest products of the catalogue, weighted by similarity,
`candidates` the most similar candidate of the catalogue within the subCategory, as types are
found that the model was not trained on. Macro F1 averages the classes that the queries hold; `classes` counts those of
catalogue and queries together. The report distinguished 15 subCategories."""

_TARGETS_TEXT: Final = """\
The first try was a ResNet50 trained from scratch for 51 minutes, on the same split by twins. The report measured on
products that its model had seen. `best way` is the best of the ways under *Classification*."""
_ROBUSTNESS_TEXT: Final = """\
{queries} of the queries, drawn by chance, altered the way uploads differ from studio shots, by other code and other
parameters than training uses (`offline/evaluate/alterations.py`). In per cent; `all 10 right` by gender and article
type, of all products."""

NEW_TYPES_COLUMNS: Final = ("network", "new: type", "all 10", "P@10", "others: type", "all 10", "taken for new")
_NEW_TYPES_TEXT: Final = """\
Types that are new to the network as well, by `fashion evaluate new-types`: another network was trained from scratch, in
far fewer passes, by the command below, on the training part without the products of {types} of the {of_types} derived
types, frequent and rare ones alike. Of the queries, {new} of {queries} are of those types. The catalogue
holds all types, so that candidates and search can find what neither network nor head knows. In per cent: queries of
the new types whose derived type is found, whose ten results are all of it, the share of results that are (P@10); the
same for all other queries, and how many of these are taken for one of a new type. What the network loses by never
having seen a type is to be told from what it lacks anyway by its figures for the others."""
_BACKBONES_TEXT: Final = """\
By `fashion evaluate backbones`: networks of keras.applications with ImageNet's weights, global max pooling, untrained,
as the report chose its own, beside the shipped model; one picture at a time, median of seven, in TensorFlow float32 for
the others. Where weights could not be downloaded there is no result, only size and time."""

# What each plot shows, for readers who cannot see it.
_PLOTS: Final = {
    "performance-articleType": "Performance against tolerance, by article type",
    "performance-gender": "Performance against tolerance, by gender",
    "performance-both": "Performance against tolerance, by gender and article type",
    "confusion-subCategory": "Which subCategories are taken for which",
    "confusion-gender": "Which genders are taken for which",
    "training": "How training went: losses, accuracies on the validation part, learning rate",
}

LABELS: Final = ("subCategory", "articleType", "gender", "derivedType")


def percent(share: float | None) -> str:
    """A share in per cent with one decimal; "-" for none."""
    return "-" if share is None else f"{share * 100:.1f}"


def performance_rows(document: Mapping[str, Any], brackets: bool) -> list[tuple[str, ...]]:
    """Rows of path, scope, feature, queries, the performance for each tolerance, and what the report has for them.

    Args:
        document: of an evaluation of retrieval.
        brackets: whether to add `performance_of_shown` in brackets where it is another figure.
    """
    cells = {(row["path"], row["scope"], row["feature"], row["tolerance"]): row for row in document["rows"]}
    rows: list[tuple[str, ...]] = []
    for path in PATHS:
        for scope in SCOPES:
            for feature in FEATURES:
                found = [cells.get((path, scope, feature, tolerance)) for tolerance in TOLERANCES]
                if found[0] is None:
                    continue
                reported = [
                    f"{value * 100:.2f}"
                    for tolerance in TOLERANCES
                    if (value := REPORTED_PERFORMANCE.get((path, scope, feature, tolerance))) is not None
                ]
                shown = [_performance(row, brackets) if row is not None else "-" for row in found]
                rows.append((path, scope, feature, f"{found[0]['queries']:,}", *shown, " / ".join(reported) or "-"))
    return rows


def figure_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of path, scope, precision@10, mAP@10, nDCG@10, colour agreements in per cent, and short answers."""
    short = {(row["path"], row["scope"]): row["short_answers"] for row in document["rows"]}
    return [
        (
            one["path"],
            one["scope"],
            percent(one["precision_at_10"]["both"]),
            percent(one["map_at_10"]["both"]),
            percent(one["ndcg_at_10"]),
            percent(one["colour_agreement_at_10"]),
            percent(one["colour_family_agreement_at_10"]),
            f"{short[one['path'], one['scope']]:,}",
        )
        for one in document["figures"]
    ]


def classification_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of label, accuracy, its interval, macro F1, classes, the report's accuracy, and each way's accuracy."""
    rows: list[tuple[str, ...]] = []
    for label in LABELS:
        one = document[label]
        reported = REPORTED_ACCURACY.get(label)
        rows.append(
            (
                label,
                f"{one['accuracy'] * 100:.2f}",
                f"{percent(one['low'])}–{percent(one['high'])}",
                percent(one["macro_f1"]),
                f"{one['classes']}",
                "-" if reported is None else f"{reported * 100:.2f}",
                ", ".join(f"{name} {percent(value)}" for name, value in one["by_method"].items()),
            )
        )
    return rows


def target_rows(retrieval: Mapping[str, Any], classification: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of figure, the report's, the first try's, the target, what was measured, and whether that reaches it."""
    cells = {(row["path"], row["scope"], row["feature"], row["tolerance"]): row for row in retrieval["rows"]}
    rows: list[tuple[str, ...]] = []
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
    return rows


def short_answer_gap(document: Mapping[str, Any]) -> float:
    """By how many points short answers that are wrong raise a performance at most, above that of what is shown."""
    gaps = [row["performance"] - row["performance_of_shown"] for row in document["rows"]]
    return max(gaps, default=0.0) * 100


def _performance(row: Mapping[str, Any], brackets: bool) -> str:
    value = row["performance"]
    half = max(row["high"] - value, value - row["low"])
    text = f"{percent(value)}±{percent(half)}"
    of_shown = percent(row["performance_of_shown"])
    return f"{text} [{of_shown}]" if brackets and of_shown != percent(value) else text


def page(
    retrieval: Mapping[str, Any],
    classification: Mapping[str, Any],
    robustness: Mapping[str, Any] | None,
    backbones: Sequence[Mapping[str, Any]] | None,
    new_types: Mapping[str, Any] | None,
    command: str,
    source: str,
    plots: Sequence[str],
) -> str:
    """The page on all evaluations, in Markdown.

    Args:
        retrieval: its JSON document.
        classification: its JSON document.
        robustness: its JSON document; None where it was not measured.
        backbones: the rows of `fashion evaluate backbones`; None where it was not run.
        new_types: the document of `fashion evaluate new-types`; None where it was not run.
        command: what gives the same page again.
        source: one sentence or more on where queries and catalogue come from.
        plots: paths of PNG files, relative to the page.
    """
    performance = performance_rows(retrieval, brackets=True)
    short = max((row["short_answers"] for row in retrieval["rows"]), default=0)
    fell_back = sum(one["fell_back_to_inventory"] for one in retrieval["figures"])
    dropped = {side: len(products) for side, products in retrieval["dropped"].items()}
    lines = [
        "# Evaluation",
        "",
        f"Model `{retrieval['model']}`, version `{retrieval['model_version']}`: {retrieval['queries']:,} queries in a "
        f"catalogue of {retrieval['catalogue']:,} products.",
        *([source] if source else []),
        f"Left out because their photographs or rows cannot be used: {dropped['catalogue']} products of the catalogue, "
        f"{dropped['queries']} queries.",
        "",
        "This page, its figures and its plots are written by one command"
        + (" (`--source` gives it what it says of the data):" if source else ":"),
        "",
        "```sh",
        command,
        "```",
        "",
        "Embeddings, index, candidates and classifier are those that serve users, run in one process. ± is the further "
        "end of a 95 % confidence interval (percentile bootstrap over queries, 1,000 resamples).",
        "",
        "## What we meant to reach",
        "",
        _TARGETS_TEXT,
        "",
        *_table(
            ("figure", "report", "first try", "target", "measured", ""),
            target_rows(retrieval, classification),
            numbers_from=1,
            numbers_to=5,
        ),
        "",
        "## Retrieval",
        "",
        _PERFORMANCE_TEXT,
        "",
        *_table(
            ("path", "scope", "right by", "queries", "none wrong", "1 of 10 wrong", "2 of 10 wrong", "report"),
            performance,
            numbers_from=3,
        ),
        "",
        _SHORT_ANSWERS_TEXT,
        f"On a path, {short:,} queries at most were answered so. {fell_back:,} answers searched the whole inventory, "
        "because the catalogue has no other product of the type that was found.",
        "",
        _FIGURES_TEXT,
        "",
        *_table(
            ("path", "scope", "precision@10", "mAP@10", "nDCG@10", "colour", "colour family", "short answers"),
            figure_rows(retrieval),
            numbers_from=2,
        ),
        "",
        "## Classification",
        "",
        _CLASSIFICATION_TEXT,
        "",
        *_table(
            ("label", "accuracy", "95 %", "macro F1", "classes", "report", "by method"),
            classification_rows(classification),
            numbers_from=1,
            numbers_to=6,
        ),
        "",
    ]
    for label in ("subCategory", "articleType"):
        worst = ", ".join(
            f"{one['label']} {percent(one['f1'])} ({one['queries']})" for one in classification[label]["worst"]
        )
        if worst:
            lines += [f"Lowest F1 by {label} (queries), of those with ten queries or more: {worst}.", ""]
    unknown = classification["unknownTypes"]
    if unknown is not None:
        lines += ["### Types that the model does not know", "", _unknown_types(unknown), ""]
    if new_types is not None:
        text = _NEW_TYPES_TEXT.format(
            types=new_types["types"],
            of_types=new_types["of_types"],
            new=f"{new_types['queries_of_new']:,}",
            queries=f"{new_types['queries']:,}",
        )
        lines += [
            text,
            "",
            "```sh",
            new_types["trained_by"],
            "```",
            "",
            *_table(NEW_TYPES_COLUMNS, new_types_rows(new_types), numbers_from=1),
            "",
        ]
    if robustness is not None:
        lines += [
            "## Shoppers' photographs",
            "",
            _ROBUSTNESS_TEXT.format(queries=f"{robustness['altered']:,}"),
            "",
            *_table(
                ("altered", "how", "subCategory", "derivedType", "all 10 right, inventory", "all 10 right, photograph"),
                robustness_rows(robustness),
                numbers_from=2,
            ),
            "",
        ]
    if backbones is not None:
        lines += ["## Other networks", "", _BACKBONES_TEXT, ""]
        lines += _table(
            ("network", "side", "parameters", "floats", "ms a picture", "all 10 right"),
            backbone_rows(backbones),
            numbers_from=1,
        )
        lines += ["", *(f"{row['name']}: {row['unavailable']}." for row in backbones if row["unavailable"]), ""]
    if plots:
        lines += ["## Plots", ""]
        for plot in plots:
            name = plot.rpartition("/")[2].removesuffix(".png")
            lines += [f"![{_PLOTS.get(name, name)}]({plot})", ""]
    return "\n".join(lines).rstrip() + "\n"


def robustness_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of alteration, what is done, and the four figures in per cent."""
    figures = ("sub_category", "derived_type", "inventory", "photograph")
    return [
        (row["alteration"], row["description"], *(percent(row[figure]) for figure in figures))
        for row in document["rows"]
    ]


def new_types_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of network, and the six figures in per cent, in the order of `NEW_TYPES_COLUMNS`."""
    figures = ("new", "new_top_10", "new_precision", "others", "others_top_10", "taken_for_new")
    return [(_knowledge(row), *(percent(row[figure]) for figure in figures)) for row in document["rows"]]


def _knowledge(row: Mapping[str, Any]) -> str:
    name = f"{row['model']} {row['model_version'][:7]}"
    if not row["learned"]:
        return f"{name}: never learned from them"
    return f"{name}: {'knows them' if row['head_knows'] else 'its head forgets them'}"


def backbone_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of network, side, parameters, floats, milliseconds, and the share of queries whose ten are all right."""
    return [
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


def _unknown_types(figures: Mapping[str, Any]) -> str:
    return (
        f"A shop has types of its own. To measure what becomes of them, the head was made to forget "
        f"{percent(figures['share'])} % of the derived types, {figures['draws']} times by chance, so that candidates "
        f"have to find them (the network below it had learned from them all the same). "
        f"Of queries of the forgotten types {percent(figures['unknown'])} % were recognised "
        f"({percent(figures['unknown_with_head'])} % with the head), of all others {percent(figures['known'])} % "
        f"({percent(figures['known_with_head'])} %); {percent(figures['taken_for_unknown'])} % of the others were "
        "taken for a forgotten type."
    )


def _table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int, numbers_to: int | None = None
) -> list[str]:
    """A Markdown table; columns from `numbers_from` to before `numbers_to` are aligned right."""
    last = len(heading) if numbers_to is None else numbers_to
    marks = ["---:" if numbers_from <= at < last else "---" for at in range(len(heading))]
    return [f"| {' | '.join(cells)} |" for cells in (heading, marks, *rows)]
