"""`fashion train`: trains a network on a data set in Kaggle's layout and writes its bundle."""

import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from offline.train import Stage

# Of what somebody wrote, in a sentence about it.
_MAX_SHOWN = 40

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog=(
        "Examples:\n\nfashion train fashion-product-images-small.zip --minutes 90\n\n"
        "fashion train my-shop/ --passes 20 --drawn 1500 --bundle models/my-shop\n\n"
        "fashion train fashion-product-images-small.zip --preset report --passes 10\n\n"
        "fashion train shop.zip --initial models/fashion-resnet50 --photographs photos.zip --teacher teacher.npz "
        "--anchor 4 --peak 0.025 --sizes 0:64x48,0.3:80x60 --blend 0.7\n\n"
        "On an NVIDIA GPU: pip install 'jax\\[cuda12]', then KERAS_BACKEND=jax fashion train …; torch and tensorflow "
        "do as well.\n\n"
        "Ctrl-C or SIGTERM writes a checkpoint; the same command goes on from there. A second one, or one while the "
        "bundle is written, ends it at once and leaves no half bundle. Products are divided into "
        "training, validation and test part by design: those with the same name and colour, or the same photograph, "
        "are never in two of them.\n\n"
        "Exit codes: 0 done, or stopped and resumable · 2 bad input · 3 no bundle there · 130 interrupted"
    )
)
def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder or zip in Kaggle's layout.")],
    run: Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints and logs.")] = Path("var/train"),
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the bundle. Default: RUN/bundle.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(metavar="fashion|report", help="Recipe; `report` is the project report's. Options override it."),
    ] = "fashion",
    minutes: Annotated[
        float | None, typer.Option(help="Length of the schedule in minutes of training, however busy the machine.")
    ] = None,
    passes: Annotated[
        float | None, typer.Option(help="Length of the schedule in passes; 12 where neither is given.")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Picture sizes (height x width), each from which share of the schedule on, as "
            "0:48x36,0.25:64x48,0.5:80x60, which is also the default."
        ),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="scratch|imagenet|DIR", help="Weights to begin with, scratch by default; DIR is a bundle."
        ),
    ] = None,
    peak: Annotated[float | None, typer.Option(help="Highest learning rate; 0.1 by default.")] = None,
    blend: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of what was trained in the bundle's weights, the rest being --initial DIR's; 1 by default.",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=2, help="Pictures per step; 128 by default.")] = None,
    extra: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="A further data set, mixed in. Repeatable.")
    ] = None,
    larger: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Larger photographs of some of the same products."),
    ] = None,
    photographs: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="People's own photographs, with a labels.csv: id, sender_id, label. They teach no gender.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Learn a teacher's features; `fashion dataset teach` makes them."),
    ] = None,
    anchor: Annotated[
        float | None,
        typer.Option(
            metavar="WEIGHT",
            help="Hold altered studio shots near the embeddings that --initial DIR gives them unaltered; 4 does well.",
        ),
    ] = None,
    drawn: Annotated[int, typer.Option(metavar="N", min=0, help="Mix in N drawn products of the demo's kind.")] = 0,
    leave_out: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Learn nothing of that share of the derived types, to measure what becomes of types that are new to "
            "a network.",
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop early after N validations that were no better.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    data: Annotated[str, typer.Option(help="Name of the data set, for the model card.")] = "",
    data_url: Annotated[str, typer.Option(help="Where it is published, for the model card.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence, for the model card.")] = "not stated",
) -> None:
    """Train a network and write its bundle with a model card; go on where an earlier run stopped."""
    for path in (dataset, *(extra or ()), larger, photographs, teacher):
        if path is not None and not path.exists():
            raise InvalidInput(f"There is no file or folder {path}.", reason="DATASET_NOT_FOUND")
    from rich.console import Console

    from cli.output import bundle_named_by
    from offline.train import TrainConfig
    from offline.train import train as run_training
    from offline.train.config import PRESETS
    from offline.train.drawings import draw_for_training

    console = Console()
    if minutes is None and passes is None:
        passes = 12.0
    if preset not in PRESETS:
        raise typer.BadParameter(
            f"{preset!r} is not a preset: name one of {', '.join(PRESETS)}.", param_hint="--preset"
        )
    given = {
        "initial": initial,
        "peak": peak,
        "blend": blend,
        "leave_out": leave_out,
        "stages": _stages(sizes) if sizes else None,
        "batch": batch,
        "larger": larger,
        "photographs": photographs,
        "teacher": teacher,
        "anchor_weight": anchor,
        "passes": passes,
        "minutes": minutes,
        "patience": patience,
    }
    recipe = {**PRESETS[preset], **{name: value for name, value in given.items() if value is not None}}
    config = TrainConfig(dataset=dataset, run=run, extra=tuple(extra or ()), seed=seed, **recipe)
    if drawn:
        console.print(f"drawing {drawn} products", highlight=False)
        config = config.model_copy(update={"extra": (*config.extra, *draw_for_training(run / "drawn", drawn))})
    with _stopped_by_signals() as stop, bundle_named_by("--initial"):
        position = run_training(config, stop=stop, console=console)
    if stop.is_set():
        console.print(f"stopped at {position.progress:.1%}; the same command goes on from there")
        return
    from offline.train.card import model_card
    from offline.train.finish import Source, finish
    from services.embedder.runtimes.openvino import OpenvinoEncoder

    place = bundle or run / "bundle"
    mixed = [f"{drawn} drawn products"] if drawn else []
    mixed += [path.name for path in (*(extra or ()), *(each for each in (larger, photographs) if each is not None))]
    written = finish(
        run,
        place,
        name=place.name,
        source=Source(data or dataset.name, data_url, licence, drawn, " and ".join(mixed)),
        runtime=lambda bundle: OpenvinoEncoder.from_bundle(bundle, precision="float32"),
        say=lambda text: console.print(text, highlight=False),
    )
    (place / "README.md").write_text(model_card(written))
    for suffix in (".csv", ".png"):
        # How training went belongs to the model; `fashion evaluate report` shows it.
        if (history := run / f"history{suffix}").is_file():
            shutil.copy(history, place / f"training{suffix}")
    console.print(f"{place}: model version {written.model_version}", highlight=False)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Within it the first SIGINT or SIGTERM sets the event; a later one does what it did before."""
    stop = threading.Event()
    former: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, ask_to_stop)
    try:
        yield stop
    finally:
        restore()


def _stages(text: str) -> "tuple[Stage, ...]":
    from offline.train import Stage

    stages = []
    for part in text.split(","):
        # Bounded, since Python refuses to read a number of some thousand digits.
        stage = re.fullmatch(r"\s*([0-9]{1,9}\.?[0-9]{0,30}|\.[0-9]{1,30}):([0-9]{1,5})x([0-9]{1,5})\s*", part)
        if stage is None:
            raise typer.BadParameter(
                f"{part[:_MAX_SHOWN]!r} is not a size: write START:HEIGHTxWIDTH, such as 0.5:80x60.",
                param_hint="--sizes",
            )
        stages.append(Stage(start=float(stage[1]), height=int(stage[2]), width=int(stage[3])))
    return tuple(stages)


if __name__ == "__main__":
    app()
