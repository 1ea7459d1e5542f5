"""What the commands of `fashion evaluate` share: their options, and products that are embedded under a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.files import make_folder
from services.contract.errors import InvalidInput
from services.contract.values import Subject

if TYPE_CHECKING:
    from offline.evaluate.run import Evaluation

DEFAULT_PLOTS = Path("out/evaluation")
DATASET = "a folder or a zip in Kaggle's layout: styles.csv and images/ID.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfQueried:
    """The options of all evaluations: what to measure; without queries, each product of the catalogue is one."""

    catalogue: Annotated[Path, typer.Option("--catalogue", metavar="PATH", help=f"The products to search: {DATASET}.")]
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="PATH",
            help=f"The products to ask for: {DATASET}. Default: each product of the catalogue, itself left out.",
            show_default=False,
        ),
    ] = None
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            metavar="PATH",
            help='The model: a folder, or "imagenet". Default: EMBEDDER_BUNDLE, or models/fashion-resnet50.',
            show_default=False,
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Ask for only N random products of the queries.")
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            file_okay=False,
            help="The folder that keeps embeddings for the next run. Default: one in your cache folder.",
        ),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of --limit and of the confidence intervals.")
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queried(SelfQueried):
    """The same where queries have to be named."""

    queries: Annotated[Path, typer.Option("--queries", metavar="PATH", help=f"The products to ask for: {DATASET}.")] = (
        field()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FewQueried(Queried):
    """The same where queries are slow."""

    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Ask for only N random products of the queries.")
    ] = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographed(SelfQueried):
    """The same where the queries are people's photographs."""

    queries: Annotated[
        Path,
        typer.Option(
            "--queries",
            metavar="PATH",
            help=f"The photographs, {DATASET}; labels.csv (id,sender_id,label) may say who sent each and its label.",
        ),
    ] = field()


Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", dir_okay=False, help="Write all figures to this file.")
]
Source = Annotated[
    str, typer.Option("--source", metavar="TEXT", help="A sentence for the page: where the data come from.")
]
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots",
        metavar="DIR",
        file_okay=False,
        help=f"The folder for plots. Default: that of the JSON file, or {DEFAULT_PLOTS}.",
    ),
]


@contextmanager
def evaluated(selected: SelfQueried, output: Path | None, subject: Subject = Subject.WHOLE) -> "Iterator[Evaluation]":
    """Loads the model, embeds both sides, and names the products that were left out."""
    from cli.output import bundle_named_by, errors
    from offline.evaluate.model import load_model
    from offline.evaluate.run import Evaluation, EvaluationOptions, default_cache
    from services.concurrency.processor import available_processors
    from services.embedder.settings import EmbedderSettings

    for path in (selected.catalogue, selected.queries):
        check_dataset(path)
    if output is not None:
        # Fails now rather than after minutes of work.
        make_folder(output.parent)
    settings = EmbedderSettings(bundle=selected.bundle) if selected.bundle else EmbedderSettings()
    options = EvaluationOptions(
        catalogue=selected.catalogue,
        queries=selected.queries,
        bundle=Path(settings.bundle),
        limit=selected.limit,
        seed=selected.seed,
        cache=selected.cache or default_cache(),
        threads=settings.threads or available_processors(),
        subject=subject,
    )
    with bundle_named_by("--bundle or EMBEDDER_BUNDLE"):
        model = load_model(settings)
    with _Bars() as progress:
        evaluation = Evaluation.prepare(options, model, progress)
        inputs = evaluation.inputs
        for side, dropped in (("catalogue", inputs.dropped_catalogue), ("queries", inputs.dropped_queries)):
            for product in dropped:
                errors().print(f"{side}: left out {product.id or '(no id)'}: {product.reason}", markup=False)
        yield evaluation


def check_dataset(path: Path | None) -> None:
    """Refuses a path that is not there.

    Raises:
        InvalidInput: DATASET_NOT_FOUND.
    """
    if path is not None and not path.exists():
        raise InvalidInput(f"There is no file or folder {path}.", reason="DATASET_NOT_FOUND")


class _Bars:
    """A progress bar per stage, with the time that is left; an `offline.evaluate.run.Progress`."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        from cli.output import errors

        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeft(),
            console=errors(),
        )

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        task = self._progress.add_task(name, total=total)
        return lambda steps: self._progress.advance(task, steps)

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()
