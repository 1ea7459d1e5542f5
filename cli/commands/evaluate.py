"""`fashion evaluate`: measures retrieval and classification as the project report does, on any data set."""

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.evaluation import (
    DATASET,
    DEFAULT_PLOTS,
    FewQueried,
    Json,
    Photographed,
    Plots,
    Queried,
    SelfQueried,
    Source,
    check_dataset,
    evaluated,
)
from cli.evaluation_tables import (
    show_backbones,
    show_classification,
    show_designs,
    show_new_types,
    show_photographs,
    show_retrieval,
    show_robustness,
)
from cli.files import make_folder, write_file
from cli.options import shared_options
from services.contract.values import Subject

if TYPE_CHECKING:
    from offline.evaluate.run import Evaluation

_EXIT_CODES = "Exit codes: 0 done · 1 unexpected · 2 bad input · 3 no bundle there · 4 no weights · 130 interrupted"

app = typer.Typer(
    help="Measure how good search and recognition are, on any data set in Kaggle's layout, as the project report does.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
)


@app.command(
    epilog=(
        "Examples:\n\nfashion evaluate retrieval --catalogue train.zip --queries test.zip --json retrieval.json\n\n"
        "fashion evaluate retrieval --catalogue my-shop/ --limit 2000\n\n"
        "Performance is the share of queries whose ten results hold at most tolerance x 10 wrong ones. The path "
        "inventory searches the whole catalogue, photograph only the derived type that the classifier finds. types_500 "
        f"restricts both to article types with at least 500 products.\n\n{_EXIT_CODES}"
    )
)
@shared_options("selected", SelfQueried)
def retrieval(*, selected: SelfQueried, json_file: Json = None, plots: Plots = None) -> None:
    """Measure search: how often the ten results are of the query's article type and gender."""
    with evaluated(selected, json_file) as evaluation:
        document, drawn = _retrieval(evaluation, json_file, _plots_folder(plots, json_file))
    show_retrieval(document)
    _show_files(json_file, drawn)


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate classification --catalogue train.zip --queries test.zip --json classes.json\n\n"
        "The trained head finds subCategory. Heads and candidates of the catalogue find the derived type, and that "
        f"gives article type and gender: as the classifier answers users.\n\n{_EXIT_CODES}"
    )
)
@shared_options("selected", Queried)
def classification(*, selected: Queried, json_file: Json = None, plots: Plots = None) -> None:
    """Measure recognition: how often subCategory, article type, gender and derived type are right."""
    with evaluated(selected, json_file) as evaluation:
        document, drawn = _classification(evaluation, json_file, _plots_folder(plots, json_file))
    show_classification(document)
    _show_files(json_file, drawn)


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate report --catalogue train.zip --queries test.zip --output docs/evaluation.md\n\n"
        "backbones.json, new-types.json and photographs.json are taken from the page's folder where they are there: "
        f"`fashion evaluate backbones`, `new-types` and `photographs` write them.\n\n{_EXIT_CODES}"
    )
)
@shared_options("selected", Queried)
def report(
    *,
    selected: Queried,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            dir_okay=False,
            help="The page to write. Figures and plots go to a folder of the same name beside it.",
        ),
    ] = Path("docs/evaluation.md"),
    sheets: Annotated[
        Path,
        typer.Option(
            "--sheets",
            metavar="DIR",
            file_okay=False,
            help="The folder for pictures of queries with their results. They hold the data set's photographs.",
        ),
    ] = DEFAULT_PLOTS,
    source: Source = "",
) -> None:
    """Run all evaluations and write a page with plots, beside the figures of the project report."""
    from offline.evaluate.page import page

    folder = output.with_suffix("")
    with evaluated(selected, output) as evaluation:
        searched, drawn = _retrieval(evaluation, folder / "retrieval.json", folder)
        recognised, confusions = _classification(evaluation, folder / "classification.json", folder)
        altered = _robustness(evaluation, folder / "robustness.json")
        plots = [*drawn, *confusions, *_training_plot(evaluation, folder)]
        pictures = evaluation.draw_sheets(sheets)
    # These need other networks or other photographs, so that commands of their own measure them.
    unlearned, taken = _document(folder / "new-types.json"), _document(folder / "photographs.json")
    compared = (_document(folder / "backbones.json") or {}).get("rows")
    show_retrieval(searched)
    show_classification(recognised)
    show_robustness(altered)
    options = [("--catalogue", selected.catalogue), ("--queries", selected.queries), ("--output", output)]
    command = _command("report", options, selected.limit)
    names = [f"{folder.name}/{path.name}" for path in plots]
    write_file(output, page(searched, recognised, altered, compared, unlearned, taken, command, source, names))
    _show_files(output, [*plots, *pictures])


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate robustness --catalogue train.zip --queries test.zip --sheet out/altered.png\n\n"
        "The alterations are backgrounds, crops, distance, blur, JPEG, perspective, light, clutter, and a mixture.\n\n"
        f"{_EXIT_CODES}"
    )
)
@shared_options("selected", Queried)
def robustness(
    *,
    selected: Queried,
    json_file: Json = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", dir_okay=False, help="Draw some of the altered photographs."),
    ] = None,
) -> None:
    """Measure search and recognition on photographs altered as shoppers' uploads differ from studio shots."""
    with evaluated(selected, json_file) as evaluation:
        if sheet is not None:
            make_folder(sheet.parent)
            evaluation.draw_altered(sheet)
        document = _robustness(evaluation, json_file)
    show_robustness(document)
    _show_files(json_file, [sheet] if sheet is not None else [])


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate designs --catalogue train.zip --sheets out/designs\n\n"
        "The two have one name but for its colour words, which belongs to a design, and two colours. Whether they are "
        "one design, only a look can tell: a sheet of each range shows random pairs.\n\n" + _EXIT_CODES
    )
)
def designs(
    *,
    catalogue: Annotated[Path, typer.Option("--catalogue", metavar="PATH", help=f"The products: {DATASET}.")],
    sheets: Annotated[
        Path | None,
        typer.Option("--sheets", metavar="DIR", file_okay=False, help="Draw random pairs of each range there."),
    ] = None,
    json_file: Json = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the pairs that are drawn.")] = 0,
) -> None:
    """Count the pairs of products that may be one design, by their similarity: what collapse=designs stands on."""
    with evaluated(SelfQueried(catalogue=catalogue, seed=seed), json_file) as evaluation:
        document, drawn = evaluation.designs(sheets)
    _write_json(json_file, document)
    show_designs(document)
    _show_files(json_file, drawn)


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate backbones --catalogue train.zip --queries test.zip --limit 500\n\n"
        "Where weights cannot be downloaded, the row says so and has no result.\n\n" + _EXIT_CODES
    )
)
@shared_options("selected", FewQueried)
def backbones(
    *,
    selected: FewQueried,
    names: Annotated[
        list[str] | None,
        typer.Option("--network", metavar="NAME", help="A network of keras.applications; repeatable. Default: all."),
    ] = None,
    json_file: Json = None,
    catalogue_limit: Annotated[
        int, typer.Option("--catalogue-limit", metavar="N", min=10, help="Search only N random products.")
    ] = 4000,
) -> None:
    """Compare the model with networks of keras.applications that have ImageNet's weights."""
    with evaluated(selected, json_file) as evaluation:
        rows = evaluation.backbones(names or (), catalogue_limit)
    _write_json(json_file, {"rows": rows})
    show_backbones(rows)


@app.command(
    "new-types",
    epilog=(
        "Example:\n\nfashion train my-shop.zip --leave-out 0.2 --run var/without\n\n"
        "fashion evaluate new-types var/without/bundle --catalogue train.zip --queries test.zip\n\n" + _EXIT_CODES
    ),
)
@shared_options("selected", Queried)
def new_types_command(
    without: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle trained with --leave-out.")],
    *,
    selected: Queried,
    json_file: Json = None,
) -> None:
    """Measure types that a network never learned from, beside a model (--bundle) that knows them."""
    from cli.output import bundle_named_by
    from offline.train.command import training_command
    from services.bundle.reader import load_bundle

    with bundle_named_by("the argument BUNDLE"), evaluated(replace(selected, bundle=without), json_file) as blind:
        pass
    with evaluated(selected, json_file) as evaluation:
        document = evaluation.new_types(blind)
    document["trained_by"] = training_command(load_bundle(Path(without)))
    _write_json(json_file, document)
    show_new_types(document)


@app.command(
    epilog=(
        "Examples:\n\nfashion evaluate doubt --catalogue train.zip --queries photos.zip --studio test.zip\n\n"
        "It measures what the defaults stand on: below which confidence how many types are searched, and below which "
        f"similarity nothing is really like it.\n\n{_EXIT_CODES}"
    )
)
@shared_options("selected", Photographed)
def doubt(
    *,
    selected: Photographed,
    studio: Annotated[
        Path, typer.Option("--studio", metavar="PATH", help=f"Studio shots that the catalogue has not: {DATASET}.")
    ],
    json_file: Json = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", dir_okay=False, help="The page to write.")] = Path(
        "out/doubt.md"
    ),
    source: Source = "",
) -> None:
    """Measure when to doubt an answer, on people's photographs and on studio shots that the catalogue has not."""
    from offline.evaluate.doubt import doubt_page

    check_dataset(studio)
    options: list[tuple[str, Path | str | None]] = [
        ("--catalogue", selected.catalogue),
        ("--queries", selected.queries),
        ("--studio", studio),
    ]
    with evaluated(selected, output, Subject.AUTO) as evaluation:
        document = evaluation.doubt(studio)
    document |= {"command": _command("doubt", options, selected.limit), "source": source}
    _write_json(json_file, document)
    write_file(output, doubt_page(document))


@app.command(
    epilog=(
        "Examples:\n\nfashion evaluate photographs --catalogue train.zip --queries photos.zip --studio test.zip\n\n"
        "fashion evaluate photographs --catalogue photos.zip --queries photos.zip --output out/page.md\n\n"
        "offline/evaluate/coarse_types.toml says which coarse types and article types count as right. Photographs also "
        "search one another, without those of their own sender. Where they are the catalogue, the classifier's "
        f"candidates are computed from all but the photograph itself, its sender's others among them.\n\n{_EXIT_CODES}"
    )
)
@shared_options("selected", Photographed)
def photographs(
    *,
    selected: Photographed,
    studio: Annotated[
        Path | None,
        typer.Option(
            "--studio",
            metavar="PATH",
            help=f"Studio shots to compare with: {DATASET}. Default: random products of the catalogue.",
            show_default=False,
        ),
    ] = None,
    json_file: Json = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            dir_okay=False,
            help="The page to write, with a picture of the worst. It holds the photographs: do not publish it.",
        ),
    ] = None,
    source: Source = "",
    subject: Annotated[
        Subject,
        typer.Option(
            "--subject",
            help="What counts in a photograph: the garment that is found, as the service has it by default, or the "
            "whole photograph.",
        ),
    ] = Subject.AUTO,
) -> None:
    """Measure photographs that people took of their own clothes: recognition, search, calibration and doubt."""
    from offline.evaluate.documents import photographs_document
    from offline.evaluate.photographs_page import photographs_page

    check_dataset(studio)
    options: list[tuple[str, Path | str | None]] = [
        ("--catalogue", selected.catalogue),
        ("--queries", selected.queries),
        ("--studio", studio),
        ("--subject", None if subject is Subject.AUTO else subject.value),
    ]
    with evaluated(selected, json_file or output, subject) as evaluation:
        measured = evaluation.photographs(studio)
        command = _command("photographs", options, selected.limit)
        document = photographs_document(
            measured, evaluation.inputs, command, source, subject, studio_is_new=studio is not None
        )
        _write_json(json_file, document)
        pictures = []
        if output is not None:
            if measured.worst:
                pictures.append(output.with_name(f"{output.stem}-worst.png"))
                make_folder(output.parent)
                evaluation.draw_worst_photographs(measured, pictures[0])
            write_file(output, photographs_page(document, pictures[0].name if pictures else None))
    show_photographs(document)
    _show_files(json_file, [*([output] if output is not None else []), *pictures])


def _retrieval(evaluation: "Evaluation", json_file: Path | None, plots: Path) -> tuple[dict[str, Any], list[Path]]:
    """Measures retrieval; returns the document, which it also writes where there is a file for it, and the plots."""
    from offline.evaluate.documents import retrieval_document
    from offline.evaluate.plots import draw_performance

    figures = evaluation.retrieval()
    document = retrieval_document(figures, evaluation.inputs)
    _write_json(json_file, document)
    return document, draw_performance(figures.figures, plots)


def _classification(evaluation: "Evaluation", json_file: Path | None, plots: Path) -> tuple[dict[str, Any], list[Path]]:
    """Measures classification; returns what `_retrieval` returns."""
    from offline.evaluate.documents import classification_document
    from offline.evaluate.plots import draw_confusion

    figures = evaluation.classification()
    document = classification_document(figures, evaluation.inputs)
    _write_json(json_file, document)
    drawn = []
    for name, label in (("subCategory", figures.sub_category), ("gender", figures.gender)):
        title = f"{name}: {label.accuracy * 100:.2f} % of {figures.queries:,} queries right"
        drawn.append(draw_confusion(label.confusion, label.labels, title, plots / f"confusion-{name}.png"))
    return document, drawn


def _robustness(evaluation: "Evaluation", json_file: Path | None) -> dict[str, Any]:
    from offline.evaluate.documents import robustness_document
    from offline.evaluate.run import MAX_ROBUSTNESS_QUERIES

    queries = min(evaluation.inputs.queries, MAX_ROBUSTNESS_QUERIES)
    document = robustness_document(evaluation.robustness(), evaluation.inputs, queries)
    _write_json(json_file, document)
    return document


def _training_plot(evaluation: "Evaluation", folder: Path) -> list[Path]:
    """Copies the bundle's plot of its training, where it has one."""
    plot = evaluation.options.bundle / "training.png"
    if not plot.is_file():
        return []
    make_folder(folder)
    return [Path(shutil.copy(plot, folder / plot.name))]


def _document(path: Path) -> dict[str, Any] | None:
    document: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return document


def _command(name: str, options: Sequence[tuple[str, Path | str | None]], limit: int | None) -> str:
    """Returns the command line that measures again."""
    words = ["fashion", "evaluate", name]
    for option, value in options:
        if value is not None:
            # An absolute path says where things lie on this machine, which is nobody's business.
            words += [option, value.name if isinstance(value, Path) and value.is_absolute() else str(value)]
    return shlex.join([*words, *(["--limit", str(limit)] if limit is not None else [])])


def _plots_folder(plots: Path | None, json_file: Path | None) -> Path:
    if plots is not None:
        return plots
    return DEFAULT_PLOTS if json_file is None else json_file.parent


def _write_json(file: Path | None, document: dict[str, Any]) -> None:
    if file is not None:
        write_file(file, json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _show_files(output: Path | None, plots: list[Path]) -> None:
    from cli.output import errors

    for path in [*([output] if output is not None else []), *plots]:
        errors().print(f"wrote {path}", markup=False, soft_wrap=True)
