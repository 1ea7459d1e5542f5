"""Shows the figures of an evaluation as tables in the terminal."""

from typing import Any, Final

from cli.output import console
from cli.output import plain_table as table

# Points from which on the two readings of short answers are told apart.
_GAP_TOLD: Final = 0.1


def show_retrieval(document: dict[str, Any]) -> None:
    """Shows what `offline.evaluate` found of retrieval."""
    from offline.evaluate.page import figure_rows, percent, performance_rows, short_answer_gap

    to = console()
    side = "each left out of its own answer" if document["leave_one_out"] else f"{document['catalogue']:,} products"
    to.print(f"\n[bold]Retrieval[/bold]: {document['queries']:,} queries, {side}, model {document['model_version']}")
    to.print("share of queries whose ten results hold at most that many wrong ones, in %\n", style="dim")
    right: dict[str, Any] = {"justify": "right"}
    columns = [("path", {}), ("scope", {}), ("right by", {}), ("queries", right)]
    columns += [(f"{wrong} wrong", right) for wrong in ("0", "1", "2")] + [("report", right)]
    to.print(table(columns, performance_rows(document, brackets=False)))
    if (gap := short_answer_gap(document)) >= _GAP_TOLD:
        to.print(
            "\nA wrong answer of one or two products counts as within tolerance here. By the share of wrong ones among "
            f"those shown, figures for 1 and 2 wrong are up to {gap:.1f} points lower (performance_of_shown in JSON).",
            style="dim",
        )
    to.print("\nThe report's figures were measured on queries seen in training.\n", style="dim")
    columns = [("path", {}), ("scope", {}), *((name, right) for name in ("precision@10", "mAP@10", "nDCG@10"))]
    columns += [("colour", right), ("colour family", right), ("short answers", right)]
    to.print(table(columns, figure_rows(document)))
    to.print(
        "\nprecision@10 over the inventory: "
        + ", ".join(f"{feature} {percent(value)}" for feature, value in document["precision_at_10"].items())
        + f"; colour agreement {percent(document['colour_agreement_at_10'])}\n"
    )


def show_classification(document: dict[str, Any]) -> None:
    """Shows what `offline.evaluate` found of classification."""
    from offline.evaluate.page import classification_rows

    to = console()
    to.print(f"\n[bold]Classification[/bold]: {document['queries']:,} queries, model {document['model_version']}\n")
    right: dict[str, Any] = {"justify": "right"}
    columns = [("label", {}), ("accuracy %", right), ("95 %", right), ("macro F1 %", right), ("classes", right)]
    columns += [("report %", right), ("by method %", {"no_wrap": False})]
    to.print(table(columns, classification_rows(document)))
    to.print()


def show_robustness(document: dict[str, Any]) -> None:
    """Shows what `offline.evaluate` found of altered photographs."""
    from offline.evaluate.page import robustness_rows

    to = console()
    to.print("\n[bold]Photographs altered as uploads are[/bold], in per cent\n")
    right: dict[str, Any] = {"justify": "right"}
    columns: list[tuple[str, dict[str, Any]]] = [("altered", {}), ("subCategory", right), ("derivedType", right)]
    columns += [("all 10, inventory", right), ("all 10, photograph", right)]
    to.print(table(columns, [(row[0], *row[2:]) for row in robustness_rows(document)]))
    to.print()


def show_new_types(document: dict[str, Any]) -> None:
    """Shows what became of derived types that a network never learned from."""
    from offline.evaluate.page import NEW_TYPES_COLUMNS, new_types_rows

    to = console()
    to.print(
        f"\n[bold]New types[/bold]: {document['types']} of {document['of_types']} derived types, "
        f"{document['queries_of_new']:,} of {document['queries']:,} queries; in per cent\n"
    )
    right: dict[str, Any] = {"justify": "right"}
    columns: list[tuple[str, dict[str, Any]]] = [
        (name, {"no_wrap": False} if at == 0 else right) for at, name in enumerate(NEW_TYPES_COLUMNS)
    ]
    to.print(table(columns, new_types_rows(document)))
    to.print()


def show_backbones(rows: list[dict[str, Any]]) -> None:
    """Shows the networks that were compared, and why some could not be."""
    from offline.evaluate.page import backbone_rows

    to = console()
    right: dict[str, Any] = {"justify": "right"}
    columns: list[tuple[str, dict[str, Any]]] = [("network", {}), ("side", right), ("parameters", right)]
    columns += [("floats", right), ("ms a picture", right), ("all 10 right %", right)]
    to.print(table(columns, backbone_rows(rows)))
    for row in rows:
        if row["unavailable"]:
            to.print(f"{row['name']}: {row['unavailable']}", markup=False, highlight=False, soft_wrap=True)
