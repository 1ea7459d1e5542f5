"""Writes the page on all evaluations, docs/evaluation.md."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.evaluate.tables import (
    backbones_table,
    classification_table,
    figures_table,
    new_types_table,
    performance_table,
    robustness_table,
    targets_table,
)
from offline.report.markdown import percent

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
        "Embeddings, index, candidates and classifier are those that serve users, run in one process. The model card "
        "measures the same in float32 with exact neighbours, so that its last digits can differ. ± is the further end "
        "of a 95 % confidence interval (percentile bootstrap over queries, 1,000 resamples).",
        "",
        "## What we meant to reach",
        "",
        _TARGETS_TEXT,
        "",
        *targets_table(retrieval, classification).markdown(),
        "",
        "## Retrieval",
        "",
        _PERFORMANCE_TEXT,
        "",
        *performance_table(retrieval, brackets=True).markdown(),
        "",
        _SHORT_ANSWERS_TEXT,
        f"On a path, {short:,} queries at most were answered so. {fell_back:,} answers searched the whole inventory, "
        "because the catalogue has no other product of the type that was found.",
        "",
        _FIGURES_TEXT,
        "",
        *figures_table(retrieval).markdown(),
        "",
        "## Classification",
        "",
        _CLASSIFICATION_TEXT,
        "",
        *classification_table(classification).markdown(),
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
            *new_types_table(new_types).markdown(),
            "",
        ]
    if robustness is not None:
        lines += [
            "## Shoppers' photographs",
            "",
            _ROBUSTNESS_TEXT.format(queries=f"{robustness['altered']:,}"),
            "",
            *robustness_table(robustness).markdown(),
            "",
        ]
    if backbones is not None:
        lines += ["## Other networks", "", _BACKBONES_TEXT, ""]
        lines += backbones_table(backbones).markdown()
        lines += ["", *(f"{row['name']}: {row['unavailable']}." for row in backbones if row["unavailable"]), ""]
    if plots:
        lines += ["## Plots", ""]
        for plot in plots:
            name = plot.rpartition("/")[2].removesuffix(".png")
            lines += [f"![{_PLOTS.get(name, name)}]({plot})", ""]
    return "\n".join(lines).rstrip() + "\n"


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
