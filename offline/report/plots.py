"""Figures of matplotlib without a window, files that are the same for the same figures, and a palette."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Wong's palette, which colour-blind readers can tell apart (Nature Methods 8, 441, 2011).
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"


def new_figure(width_inch: float, height_inch: float) -> "Figure":
    """Returns an empty figure that lays itself out.

    Raises:
        ImportError: matplotlib is not installed.
    """
    # matplotlib takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: Path) -> Path:
    """Writes a figure to a file whose folder need not exist, and returns the file's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the library's version, the same figures give the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
