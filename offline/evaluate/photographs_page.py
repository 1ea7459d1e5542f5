"""The tables and the text on people's photographs, for the terminal, for docs/evaluation.md and for a page alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.evaluate.robustness import UNALTERED
from offline.report.markdown import Table, flowing, page_text, percent

_INTRODUCTION: Final = """\
{photographs} photographs that {senders} people took of their own clothes, on floors, beds and hangers, asked for as a
shopper does, without a box{subject}. {source} Their labels are coarse and partial.
`offline/evaluate/coarse_types.toml` says which coarse type each subCategory has, and which article types each label may
mean. Nobody knows whom the garments are for, so that neither gender nor derived type is judged. ± is the further end of
a 95 % interval (percentile bootstrap over senders, 1,000 resamples): one sender's photographs share a background. Model
`{model}`, version `{version}`."""
_SUBJECTS: Final = {
    "auto": ": the garment that is found counts beside the whole photograph (`subject: AUTO`, the default of queries)",
    "whole": ": the whole photograph counts (`subject: WHOLE`)",
}
_STUDIO: Final = """\
Studio shots for comparison: {queries} random ones {origin}. `mixed` is the most severe alteration of `fashion evaluate
robustness`. Of the shots on their side, at 90° and 270°, the coarse type of {on_their_side} % is right."""
_SEARCH: Final = """\
What photographs find: the share of right results among ten, and the share of photographs with ten right ones. In a shop
of photographs, the article type has to be the photograph's own; in the catalogue, one that its label may mean. Results
of the same sender are left out but where the row says otherwise: they share floor and light, which helps."""
_CALIBRATION: Final = """\
How far probabilities can be believed: the mean distance of probability and share of right answers, over ten bins (ECE).
A photograph's subCategory counts as right where its coarse type is; the probability of an article type is the sum over
genders."""
_DOUBT: Final = """\
Signs of doubt: the similarity of the first result, and the probability of the subCategory. `right` is how often the
sign is higher for a right answer than for a wrong one (AUROC; 50 tells nothing), `studio` how often it is higher for a
studio shot than for a photograph. Thresholds are set where about {shares} % of the right answers would be doubted; the
table has the share of wrong answers caught, and the share of right ones among the rest."""
_BY_LABEL: Final = """\
By label. `shop` is the precision among other people's photographs by article type, `catalogue` that in the catalogue by
coarse type; `taken for` is the most frequent wrong answer."""


def recognition_table(document: Mapping[str, Any]) -> Table:
    """Returns how often photographs are recognised, and studio shots for comparison."""
    rows = [("people's photographs", document["recognition"])]
    rows += [(f"studio shots, {row['alteration']}", row["recognition"]) for row in document["studio"]]
    names = ("coarse", "sub_category", "article_type", "taken_for_bag")
    cells = [(name, f"{each['queries']:,}", *(_share(each[figure]) for figure in names)) for name, each in rows]
    heading = ("queries", "number", "coarse type", "subCategory", "articleType", "taken for a bag")
    return Table(heading, cells, range(1, 6))


def search_table(document: Mapping[str, Any]) -> Table:
    """Returns what photographs find in each catalogue."""
    names = ("coarse_precision", "coarse_all", "article_precision", "article_all")
    cells = [
        (row["searched"], row["path"], f"{row['products']:,}", *(_share(row[figure]) for figure in names))
        for row in document["search"]
    ]
    heading = ("searched", "path", "products", "coarse: P@10", "all 10", "articleType: P@10", "all 10")
    return Table(heading, cells, range(2, 7))


def calibration_table(document: Mapping[str, Any]) -> Table:
    """Returns how far each probability can be believed."""
    cells = [
        (
            row["of"],
            row["label"],
            f"{row['answers']:,}",
            percent(row["probability"]),
            percent(row["right"]),
            percent(row["error"]),
        )
        for row in document["calibration"]
    ]
    return Table(("of", "label", "answers", "mean probability", "right", "ECE"), cells, range(2, 6))


def reliability_table(document: Mapping[str, Any]) -> Table:
    """Returns the share of right answers by the probability that the classifier gave for photographs."""
    cells = [
        (
            row["label"],
            f"{each['low'] * 100:.0f}–{each['high'] * 100:.0f}",
            f"{each['answers']:,}",
            percent(each["probability"]),
            percent(each["right"]),
        )
        for row in document["calibration"]
        if row["of"] == "photographs"
        for each in row["bins"]
    ]
    return Table(("label", "probability", "photographs", "mean", "right"), cells, range(1, 5))


def doubt_table(document: Mapping[str, Any]) -> Table:
    """Returns what each sign of doubt tells, and what thresholds would catch."""
    cells = [
        (
            row["sign"],
            percent(row["tells_right"]),
            percent(row["tells_studio"]),
            f"{each['threshold']:.3f}",
            percent(each["right_doubted"]),
            percent(each["wrong_caught"]),
            percent(each["right_above"]),
        )
        for row in document["doubt"]
        for each in row["thresholds"]
    ]
    heading = (
        "sign",
        "right",
        "studio",
        "threshold",
        "right ones doubted",
        "wrong ones caught",
        "right among the rest",
    )
    return Table(heading, cells, range(1, 7))


def label_table(document: Mapping[str, Any]) -> Table:
    """Returns the figures by label."""
    cells = [
        (
            row["label"],
            f"{row['photographs']:,}",
            f"{row['senders']:,}",
            _share(row["coarse"]),
            _share(row["article_type"]),
            percent(row["taken_for_bag"]["share"]),
            percent(row["shop_precision"]),
            percent(row["catalogue_precision"]),
            "-" if row["taken_for"] is None else f"{row['taken_for']} {percent(row['taken_for_share'])}",
        )
        for row in document["by_label"]
    ]
    heading = (
        "label",
        "number",
        "senders",
        "coarse type",
        "articleType",
        "taken for a bag",
        "shop",
        "catalogue",
        "taken for",
    )
    return Table(heading, cells, range(1, 8))


def photographs_section(document: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the section on people's photographs, without its heading."""
    introduction = flowing(
        _INTRODUCTION.format(
            photographs=f"{document['queries']:,}",
            senders=f"{document['senders']:,}",
            source=document["source"],
            subject=_SUBJECTS[document.get("subject", "whole")],
            model=document["model"],
            version=document["model_version"],
        )
    )
    lines = [introduction, "", "```sh", document["command"], "```", "", *recognition_table(document).markdown(), ""]
    if document["studio"]:
        origin = (
            "that the catalogue does not hold" if document["studio_is_new"] else "of the catalogue, each left out of it"
        )
        count = f"{document['studio'][0]['recognition']['queries']:,}"
        on_their_side = percent(share_on_their_side(document))
        lines += [flowing(_STUDIO.format(queries=count, origin=origin, on_their_side=on_their_side)), ""]
    shares = ", ".join(
        f"{each['right_doubted'] * 100:.0f}" for row in document["doubt"][:1] for each in row["thresholds"]
    )
    lines += [_SEARCH, "", *search_table(document).markdown(), ""]
    lines += [_BY_LABEL, "", *label_table(document).markdown(), ""]
    if document["calibration"]:
        lines += [_CALIBRATION, "", *calibration_table(document).markdown(), ""]
        lines += [*reliability_table(document).markdown(), ""]
    if shares:
        lines += [flowing(_DOUBT.format(shares=shares)), "", *doubt_table(document).markdown(), ""]
    return lines


def photographs_page(document: Mapping[str, Any], worst: str | None) -> str:
    """Returns a page on people's photographs alone, in Markdown.

    Args:
        document: the JSON document of people's photographs.
        worst: the path of the picture of the worst, relative to the page; None without one.
    """
    lines = ["# People's photographs", "", *photographs_section(document)]
    if worst is not None:
        lines += [
            "## The worst",
            "",
            "The wrong answers that the classifier was most certain of, each with its first ten results in the "
            "catalogue, green where the coarse type is right. It holds people's photographs: do not publish it.",
            "",
            f"![The worst]({worst})",
        ]
    return page_text(lines)


def share_on_their_side(document: Mapping[str, Any]) -> float | None:
    """Returns the share of studio shots on their side whose coarse type is right; None without studio shots."""
    shares = [
        row["recognition"]["coarse"]["share"]
        for row in document["studio"]
        if row["alteration"] in ("turned by 90°", "turned by 270°")
    ]
    return sum(shares) / len(shares) if shares else None


def in_short(document: Mapping[str, Any]) -> str:
    """Returns one sentence that compares photographs with studio shots."""
    recognised = percent(document["recognition"]["coarse"]["share"])
    compared = {row["alteration"]: row["recognition"]["coarse"]["share"] for row in document["studio"]}
    text = f"the coarse type of {recognised} % of people's photographs is recognised"
    if UNALTERED in compared:
        text += f", beside {percent(compared[UNALTERED])} % of studio shots as they are"
    if "mixed" in compared:
        text += f" and {percent(compared['mixed'])} % of studio shots altered by `mixed`"
    return text


def _share(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]["low"], figure["interval"]["high"]
    value = figure["share"]
    if low is None:
        return percent(value)
    return f"{percent(value)}±{percent(max(value - low, high - value))}"


def tables(document: Mapping[str, Any]) -> Sequence[tuple[str, Table]]:
    """Returns the tables for the terminal, each with its heading."""
    named = [
        ("Recognised", recognition_table(document)),
        ("Found", search_table(document)),
        ("By label", label_table(document)),
        ("Calibration", calibration_table(document)),
        ("Doubt", doubt_table(document)),
    ]
    return [(heading, table) for heading, table in named if table.rows]
