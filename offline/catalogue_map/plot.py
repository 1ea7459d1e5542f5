"""Draws a map of the catalogue as a picture, coloured by one attribute."""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from offline.catalogue_map.layout import CatalogueMap, attribute_of, missing_extra
from services.search.filters.colours import family_of

UNKNOWN: Final = "unknown"
_OTHERS: Final = "others"
_QUIET_COLOUR: Final = "#d2d2d6"
_MAX_VALUES: Final = 12
_LEGEND_SIZE: Final = 70.0
# Paul Tol's "muted" scheme and some of his others: colour-blind readers can tell most of the twelve apart.
_COLOURS: Final = (
    "#332288",
    "#EE6677",
    "#117733",
    "#88CCEE",
    "#DDCC77",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
    "#4477AA",
    "#EE7733",
    "#000000",
)
# The colour that a shopper expects for a family of `services.search.filters.colours`.
_FAMILY_COLOURS: Final = {
    "Beige": "#d8c3a0",
    "Black": "#1c1c1e",
    "Blue": "#2f6fc4",
    "Brown": "#7a4a2b",
    "Green": "#3c9150",
    "Grey": "#8e8e93",
    "Metallic": "#b59a4c",
    "Multi": "#00a6a6",
    "Orange": "#f08c2e",
    "Pink": "#ee7fb2",
    "Purple": "#7f4fb0",
    "Red": "#cc2f36",
    "White": "#ffffff",
    "Yellow": "#f5d13d",
}


def draw_map(laid_out: CatalogueMap, colour_by: str, path: Path) -> None:
    """Draws a map into a file; the suffix .png, .svg or .pdf says which kind.

    Args:
        laid_out: the map.
        colour_by: one of `layout.ATTRIBUTES`; a base colour appears in the colour of its family.
        path: the file.

    Raises:
        FashionError: EXTRA_MISSING; matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("A picture of a map", "matplotlib") from error
    products = laid_out.sample.products
    groups, colours = grouped([attribute_of(product, colour_by) for product in products], colour_by)
    figure = Figure(figsize=(11.6, 9.0))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.015, 0.735, 0.945))
    axes.set_facecolor("#f4f4f6")
    size = float(np.clip(30_000 / len(products), 7.0, 60.0))
    # Rare values cover frequent ones; values without a colour of their own lie below all.
    for name, rows in groups.items():
        axes.scatter(
            laid_out.places[rows, 0],
            laid_out.places[rows, 1],
            s=size,
            c=colours[name],
            linewidths=0.35,
            edgecolors="#77777a" if name == "White" else "#ffffff",
            zorder=1 if name in (_OTHERS, UNKNOWN) else 2,
            label=f"{name} ({len(rows):,})",
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    of = laid_out.sample.catalogue_size
    axes.set_title(
        f"{len(products):,} of {of:,} products by {colour_by.replace('_', ' ')}: near means alike",
        loc="left",
        fontsize=13,
    )
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=11,
        handletextpad=0.3,
        markerscale=(_LEGEND_SIZE / size) ** 0.5,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def grouped(values: list[str | None], colour_by: str) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Groups rows by value, the most frequent first, and gives each value a colour.

    Args:
        values: one per row; None where it is unknown.
        colour_by: the attribute that they are of.

    Returns:
        Rows by value, and colours by value. The rarest values become one, so that readers can tell the others apart.
    """
    by_family = colour_by == "base_colour"
    names = [UNKNOWN if value is None else family_of(value) if by_family else value for value in values]
    ranked = [name for name, _ in sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))]
    if by_family:
        names_shown = [name for name in ranked if name in _FAMILY_COLOURS]
        colours = {name: _FAMILY_COLOURS[name] for name in names_shown}
    else:
        names_shown = [name for name in ranked if name != UNKNOWN][:_MAX_VALUES]
        colours = dict(zip(names_shown, _COLOURS, strict=False))
    rows: dict[str, list[int]] = {name: [] for name in (*names_shown, _OTHERS, UNKNOWN)}
    for at, name in enumerate(names):
        rows[name if name in rows else _OTHERS].append(at)
    colours |= {_OTHERS: _QUIET_COLOUR, UNKNOWN: _QUIET_COLOUR}
    return {name: places for name, places in rows.items() if places}, colours
