"""The plots of an evaluation: performance against tolerance, and confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from offline.evaluate.reported import REPORTED_PERFORMANCE, Feature
from offline.evaluate.retrieval import FEATURES, Figures
from offline.report.plots import BLUE, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES: Final[Mapping[Feature, str]] = {
    "articleType": "article type",
    "gender": "gender",
    "both": "gender and article type",
}
_COLOURS: Final = {"inventory": BLUE, "photograph": ORANGE}
_STYLES: Final = {"all": "-", "types_500": "--"}
_SCOPES: Final = {"all": "all products", "types_500": "article types with 500 or more"}
# Cells below this share have no number, which would hide the others.
_MIN_SHARE_SHOWN: Final = 0.005
_MIN_DARK_SHARE: Final = 0.55
_MAX_LABELS: Final = 60


def draw_performance(figures: Sequence[Figures], folder: Path) -> list[Path]:
    """Draws the performance against the tolerance, one file per feature.

    Args:
        figures: the figures of each path and scope.
        folder: the folder for the files, which need not exist.

    Returns:
        The files: `performance-articleType.png`, …
    """
    drawn: list[Path] = []
    for feature in FEATURES:
        figure = new_figure(7.2, 4.6)
        axes = figure.add_subplot()
        for one in figures:
            curve = np.array(one.curves[feature]) * 100
            axes.plot(
                np.linspace(0, 100, len(curve)),
                curve,
                _STYLES[one.scope],
                color=_COLOURS[one.path],
                marker="o",
                markersize=4,
                label=f"{one.path}, {_SCOPES[one.scope]}",
            )
        _draw_reported(axes, feature)
        axes.set_title(f"Queries whose ten results are right by {_TITLES[feature]}")
        axes.set_xlabel("tolerance: share of wrong results allowed, %")
        axes.set_ylabel("performance: share of queries, %")
        axes.set_xlim(-2, 102)
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
        drawn.append(save_figure(figure, folder / f"performance-{feature}.png"))
    return drawn


def _draw_reported(axes: "Axes", feature: Feature) -> None:
    for path, colour in _COLOURS.items():
        points = [
            (tolerance * 100, value * 100)
            for (of_path, _, of_feature, tolerance), value in REPORTED_PERFORMANCE.items()
            if (of_path, of_feature) == (path, feature)
        ]
        if points:
            label = f"report: {path}, {_SCOPES['types_500']}, seen in training"
            tolerances, values = zip(*points, strict=True)
            axes.scatter(tolerances, values, marker="x", color=colour, s=50, zorder=3, label=label)


def draw_confusion(confusion: NDArray[np.int64], labels: Sequence[str], title: str, path: Path) -> Path:
    """Draws a confusion matrix, each row as shares of its queries in per cent.

    Args:
        confusion: int64, shape (c, c), rows are the truth.
        labels: shape (c,); of more than 60 the rarest become one.
        title: the heading.
        path: the PNG to write.

    Returns:
        `path`.
    """
    counts, names = _by_frequency(confusion, labels)
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support[:, None], 1)
    count = len(names)
    side = max(4.8, 0.30 * count + 2.6)
    figure = new_figure(side + 0.6, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    size = 9 if count <= 10 else 6.5
    for row in range(count):
        for column in range(count):
            if shares[row, column] >= _MIN_SHARE_SHOWN:
                axes.text(
                    column,
                    row,
                    f"{shares[row, column] * 100:.0f}",
                    ha="center",
                    va="center",
                    fontsize=size,
                    color="white" if shares[row, column] > _MIN_DARK_SHARE else "#1a1a1a",
                )
    axes.set_xticks(range(count), names, rotation=90, fontsize=8)
    axes.set_yticks(range(count), [f"{name} ({n})" for name, n in zip(names, support, strict=True)], fontsize=8)
    axes.set_xticks(np.arange(-0.5, count), minor=True)
    axes.set_yticks(np.arange(-0.5, count), minor=True)
    axes.grid(which="minor", color="#e6e6e6", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("found")
    axes.set_ylabel("truth (queries)")
    axes.set_title(title)
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02)
    bar.set_label("share of the row's queries")
    return save_figure(figure, path)


def _by_frequency(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Sorts the labels by their queries, and merges the rarest where a matrix would be unreadable."""
    support = confusion.sum(axis=1)
    order = sorted(range(len(labels)), key=lambda at: (-support[at], labels[at]))
    names = [labels[at] for at in order]
    counts = confusion[np.ix_(order, order)]
    if len(names) <= _MAX_LABELS:
        return counts, names
    frequent = _MAX_LABELS - 1
    merge = np.zeros((_MAX_LABELS, len(names)), dtype=np.int64)
    merge[np.minimum(np.arange(len(names)), frequent), np.arange(len(names))] = 1
    return merge @ counts @ merge.T, [*names[:frequent], f"({len(names) - frequent} others)"]
