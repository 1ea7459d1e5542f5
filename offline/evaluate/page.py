"""Writes the page on all evaluations, docs/evaluation.md."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.evaluate.photographs_page import in_short, photographs_section
from offline.evaluate.tables import (
    backbones_table,
    classification_table,
    figures_table,
    new_types_table,
    performance_table,
    robustness_table,
    targets_table,
)
from offline.report.markdown import flowing, page_text, percent

_PERFORMANCE_TEXT: Final = """\
*Performance* is the project report's measure: the share of queries whose ten results hold at most tolerance x 10
wrong ones, in per cent. `inventory` searches the whole catalogue; `photograph` searches the derived type that the
classifier finds, as the services do for a shopper's photograph. `types_500` restricts queries and catalogue to
article types with at least 500 products, counted over both. The report measured on queries that its model had seen in
training."""
_SHORT_ANSWERS_TEXT: Final = """\
An answer is short where the derived type holds fewer than ten products. A place without result is no wrong result, so
that a single wrong product, alone, is within a tolerance of 1 in 10. The figure in brackets, where it differs, is the
honest one: the share of queries with at most that share of wrong results *among those shown*. The plots show this
figure. The JSON has both, and `performance_missing_wrong`, where a missing result counts as a wrong one."""
_FIGURES_TEXT: Final = """\
Means over the queries, in per cent. For precision and mAP, a result is right by gender and article type. For nDCG,
its grade is 3 for the derived type in a colour of the same family, 2 for the derived type, 1 for the article type.
Colour agreement is the share of results of the query's main colour, or of its family."""
_CLASSIFICATION_TEXT: Final = """\
`service` is the answer of the classifier to users. The trained head finds the subCategory. The heads of derived type,
article type and gender together find the derived type among those of the catalogue, with the bundle's penalty for
rare types. The first derived type gives article type and gender. `by method` compares other ways: `head` is the
model's head for that label alone; `neighbours` is the vote of the twenty nearest products of the catalogue, weighted
by similarity; `candidates` is the most similar candidate of the catalogue within the subCategory, which also finds
types that the model never learned. Macro F1 averages the classes that the queries hold; `classes` counts those of
catalogue and queries together. The report distinguished 15 subCategories."""

_TARGETS_TEXT: Final = """\
The first try was a ResNet50, trained from scratch for 51 minutes on the same split by twins. The report measured on
products that its model had seen. `best way` is the best way under *Classification*."""
_ROBUSTNESS_TEXT: Final = """\
The photographs of {queries} random queries, altered as uploads differ from studio shots. Code and parameters are
other than those of training (`offline/evaluate/alterations.py`). In per cent; `all 10` means that all ten results are
right by gender and article type, among all products."""

_PROMISE_TEXT: Final = """\
These figures promise too much: {figures}. What is new in a photograph is the garment itself, unworn, laid flat and seen
from above, which no alteration of a studio shot shows. They only compare one alteration with another."""

_NEW_TYPES_TEXT: Final = """\
`fashion evaluate new-types` measures types that are new to the network too. The command below trained another network
from scratch, in far fewer passes, without the products of {types} of the {of_types} derived types, frequent and rare
ones. Of the {queries} queries, {new} are of those types. The catalogue holds all types, so that candidates and search
can find what network and head do not know. In per cent, for queries of new types: those whose derived type is found,
those whose ten results are all of it, and the share of results of it (P@10). Then the same for all other queries, and
the share of these that get a new type as answer. The figures for the others show what that network lacks anyway."""
_BACKBONES_TEXT: Final = """\
`fashion evaluate backbones` compares the shipped model with networks of keras.applications: ImageNet's weights,
global max pooling, no further training, as the report chose its network. Times are per picture, the median of seven,
in TensorFlow float32 for the others. A network whose weights could not be downloaded has a size and a time, but no
result."""

# The text of each plot for readers who cannot see it.
_PLOTS: Final = {
    "performance-articleType": "Performance against tolerance, by article type",
    "performance-gender": "Performance against tolerance, by gender",
    "performance-both": "Performance against tolerance, by gender and article type",
    "confusion-subCategory": "Which subCategories the classifier confuses",
    "confusion-gender": "Which genders the classifier confuses",
    "training": "Training: losses, accuracies on the validation part, learning rate",
}


def page(
    retrieval: Mapping[str, Any],
    classification: Mapping[str, Any],
    robustness: Mapping[str, Any] | None,
    backbones: Sequence[Mapping[str, Any]] | None,
    new_types: Mapping[str, Any] | None,
    photographs: Mapping[str, Any] | None,
    command: str,
    source: str,
    plots: Sequence[str],
) -> str:
    """Returns the page on all evaluations in Markdown.

    Args:
        retrieval: the JSON document of retrieval.
        classification: the JSON document of classification.
        robustness: the JSON document of robustness; None without one.
        backbones: the rows of `fashion evaluate backbones`; None without them.
        new_types: the document of `fashion evaluate new-types`; None without one.
        photographs: the document of `fashion evaluate photographs`; None without one.
        command: the command that writes the page again.
        source: one or more sentences on the origin of queries and catalogue.
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
        f"{dropped['catalogue']} products of the catalogue and {dropped['queries']} queries are left out, because "
        "their photographs or rows cannot be used.",
        "",
        "One command writes this page, its figures and its plots"
        + (" (with what it says of the data in `--source`):" if source else ":"),
        "",
        "```sh",
        command,
        "```",
        "",
        "Embeddings, index, candidates and classifier are those that serve users, in one process. The model card "
        "measures in float32 with exact neighbours, so that its last digits can differ. ± is the further end of a 95 % "
        "confidence interval (percentile bootstrap over queries, 1,000 resamples).",
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
        f"At most {short:,} queries per path have a short answer. {fell_back:,} answers searched the whole inventory, "
        "because the catalogue has no other product of the recognised type.",
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
    if photographs is not None:
        lines += ["## People's photographs", "", *photographs_section(photographs)]
    if robustness is not None:
        lines += ["## Altered studio shots", "", _ROBUSTNESS_TEXT.format(queries=f"{robustness['altered']:,}"), ""]
        if photographs is not None:
            lines += [flowing(_PROMISE_TEXT.format(figures=in_short(photographs))), ""]
        lines += [
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
    return page_text(lines)


def _unknown_types(figures: Mapping[str, Any]) -> str:
    return (
        f"A shop has types that the model never learned. To measure them, the head forgot a random "
        f"{percent(figures['share'])} % of the derived types, {figures['draws']} times, so that candidates had to find "
        f"them. The network below the head had learned from them. Of the queries of forgotten types, "
        f"{percent(figures['unknown'])} % were recognised ({percent(figures['unknown_with_head'])} % with the head); "
        f"of all others, {percent(figures['known'])} % ({percent(figures['known_with_head'])} %). Of the others, "
        f"{percent(figures['taken_for_unknown'])} % got a forgotten type as answer."
    )
