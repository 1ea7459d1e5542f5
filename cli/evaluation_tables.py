"""Shows the figures of an evaluation as tables in the terminal."""

from typing import TYPE_CHECKING, Any, Final

from cli.output import console, plain_table

if TYPE_CHECKING:
    from offline.report.markdown import Table

# Below this many points, the two readings of short answers count as equal.
_MIN_GAP_SHOWN: Final = 0.1


def show_retrieval(document: dict[str, Any]) -> None:
    """Shows an evaluation of retrieval."""
    from offline.evaluate.tables import figures_table, performance_table, short_answer_gap
    from offline.report.markdown import percent

    to = console()
    side = "each left out of its own answer" if document["leave_one_out"] else f"{document['catalogue']:,} products"
    to.print(f"\n[bold]Retrieval[/bold]: {document['queries']:,} queries, {side}, model {document['model_version']}")
    to.print("Share of queries whose ten results hold at most this many wrong ones, in per cent\n", style="dim")
    _print(performance_table(document, brackets=False))
    if (gap := short_answer_gap(document)) >= _MIN_GAP_SHOWN:
        to.print(
            "An answer of one or two wrong products counts as within tolerance here. By the share of wrong products "
            f"among those shown, both figures are up to {gap:.1f} points lower (performance_of_shown in JSON).\n",
            style="dim",
        )
    to.print("The report measured on queries seen in training.\n", style="dim")
    _print(figures_table(document))
    to.print(
        "precision@10 over the inventory: "
        + ", ".join(f"{feature} {percent(value)}" for feature, value in document["precision_at_10"].items())
        + f"; colour agreement {percent(document['colour_agreement_at_10'])}\n"
    )


def show_classification(document: dict[str, Any]) -> None:
    """Shows an evaluation of classification."""
    from offline.evaluate.tables import classification_table

    queries, version = document["queries"], document["model_version"]
    console().print(f"\n[bold]Classification[/bold]: {queries:,} queries, model {version}; in per cent\n")
    _print(classification_table(document))


def show_robustness(document: dict[str, Any]) -> None:
    """Shows what remains where photographs are altered."""
    from offline.evaluate.tables import robustness_table

    console().print("\n[bold]Photographs altered as uploads are[/bold], in per cent\n")
    _print(robustness_table(document).without("how"))


def show_new_types(document: dict[str, Any]) -> None:
    """Shows what becomes of derived types that a network never learned from."""
    from offline.evaluate.tables import new_types_table

    console().print(
        f"\n[bold]New types[/bold]: {document['types']} of {document['of_types']} derived types, "
        f"{document['queries_of_new']:,} of {document['queries']:,} queries; in per cent\n"
    )
    _print(new_types_table(document))


def show_photographs(document: dict[str, Any]) -> None:
    """Shows how well people's photographs are recognised and what they find."""
    from offline.evaluate.photographs_page import tables

    console().print(
        f"\n[bold]People's photographs[/bold]: {document['queries']:,} of {document['senders']:,} senders, model "
        f"{document['model_version']}; in per cent"
    )
    for heading, table in tables(document):
        console().print(f"\n[bold]{heading}[/bold]\n")
        _print(table)


def show_designs(document: dict[str, Any]) -> None:
    """Shows how many pairs of products may be one design."""
    from offline.evaluate.tables import designs_table

    names, products = document["names"], document["products"]
    text = (
        f"{names['all']:,} names without colour words, {names['of_several']:,} of two products or more "
        f"({products['of_several']:,} of {products['all']:,}); {names['of_designs']:,} belong to a design."
    )
    console().print(text, markup=False, highlight=False, soft_wrap=True)
    _print(designs_table(document))


def show_backbones(rows: list[dict[str, Any]]) -> None:
    """Shows the networks that were compared, and why some could not be."""
    from offline.evaluate.tables import backbones_table

    _print(backbones_table(rows))
    for row in rows:
        if row["unavailable"]:
            console().print(f"{row['name']}: {row['unavailable']}", markup=False, highlight=False, soft_wrap=True)


def _print(table: "Table") -> None:
    columns: list[tuple[str, dict[str, Any]]] = [
        (name, {"justify": "right"} if at in table.numbers else {"no_wrap": False, "overflow": "fold"})
        for at, name in enumerate(table.heading)
    ]
    console().print(plain_table(columns, table.rows))
    console().print()
