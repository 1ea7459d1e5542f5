"""What a run prints and keeps while it goes on: a progress line with an estimate, a CSV, a plot."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from offline.report.plots import new_figure, save_figure
from offline.train.checkpoint import Position

_LINE_EVERY_S = 30.0
_HISTORY = "history.csv"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class History:
    """A run's figures, printed as a bar on a terminal, as a line now and then elsewhere; and kept.

    A row of `history.csv` is one validation. A resumed run goes on in the same file.
    """

    def __init__(self, run: Path, console: Console) -> None:
        self._path = run / _HISTORY
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f} %"),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}  {task.fields[facts]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=1.0, left="?", facts="")
        self._last_line = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, position: Position, left_s: float | None, figures: Mapping[str, float]) -> None:
        """Prints where training is, with the means of a stretch of it."""
        facts = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._progress.update(self._task, completed=position.progress, left=_duration(left_s), facts=facts)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self.say(f"{position.progress:6.1%}  step {position.step}  left {_duration(left_s)}  {facts}")

    def validation(self, figures: Mapping[str, float]) -> None:
        """Prints and keeps the figures of a validation; each is measured by the same ones."""
        self.say("validation  " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(figures))
            if fresh:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in figures.items()})

    def say(self, text: str) -> None:
        """Prints a line with the time."""
        self._console.print(f"{time.strftime('%H:%M:%S')}  {text}", highlight=False, soft_wrap=True)


def plot_history(run: Path) -> Path:
    """Draws `history.csv` as `history.png`: losses, accuracies, retrieval and learning rate along the steps.

    Returns:
        The picture's path.

    Raises:
        FileNotFoundError: the run has not been validated yet.
    """
    with (run / _HISTORY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [float(row["step"]) for row in rows]
    panels = {
        "training loss": [name for name in rows[0] if name.endswith("_loss")],
        "validation accuracy": [name for name in rows[0] if name.endswith("_accuracy")],
        "validation retrieval": ["all_top_10_right", "precision_at_10", "colour_agreement_at_10"],
        "learning rate": ["learning_rate"],
    }
    figure = new_figure(14, 8)
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for name in names:
            axes.plot(steps, [float(row[name]) for row in rows], marker="o", markersize=3, label=name)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        # Beside the lines: inside, it would cover some of them.
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return save_figure(figure, run / "history.png")
