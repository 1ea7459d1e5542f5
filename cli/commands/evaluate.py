"""`fashion evaluate`: measures retrieval and classification as the project report does, on any data set."""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.evaluation_tables import show_backbones, show_classification, show_new_types, show_retrieval, show_robustness
from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from offline.evaluate.documents import Inputs
    from offline.evaluate.model import EvaluatedModel
    from offline.evaluate.run import EvaluationOptions, Prepared

_DEFAULT_PLOTS = Path("out/evaluation")
_DATASET = "a folder or a zip in Kaggle's layout: styles.csv and images/ID.jpg"
_SHEET_ROWS = 8
_EXIT_CODES = "Exit codes: 0 done · 1 unexpected · 2 bad input · 3 no bundle there · 4 no weights · 130 interrupted"

app = typer.Typer(
    help="Measure retrieval and classification as the project report does, on any data set in Kaggle's layout.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
)

Catalogue = Annotated[
    Path, typer.Option("--catalogue", metavar="PATH", help=f"What is searched: {_DATASET}.", show_default=False)
]
Queries = Annotated[Path, typer.Option("--queries", metavar="PATH", help=f"What is asked for: {_DATASET}.")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", dir_okay=False, help="Write all figures to this file.")
]
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots",
        metavar="DIR",
        file_okay=False,
        help=f"Where plots go. Default: beside the JSON, or {_DEFAULT_PLOTS}.",
    ),
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        metavar="PATH",
        help='The model: a folder, or "imagenet". Default: EMBEDDER_BUNDLE, or models/fashion-resnet50.',
        show_default=False,
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Ask only N of the queries, drawn at random.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        file_okay=False,
        help="Where embeddings are kept, so that the next run is quick. Default: the user's cache folder.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of --limit and of the confidence intervals.")]


@app.command(
    epilog=(
        "Examples:\n\nfashion evaluate retrieval --catalogue train.zip --queries test.zip --json retrieval.json\n\n"
        "fashion evaluate retrieval --catalogue my-shop/ --limit 2000\n\n"
        "performance is the share of queries whose ten results hold at most tolerance x 10 wrong ones. The path "
        "inventory searches the whole catalogue, photograph the derived type that the classifier finds. types_500: "
        f"only article types with at least 500 products, catalogue and queries together.\n\n{_EXIT_CODES}"
    )
)
def retrieval(
    catalogue: Catalogue,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="PATH",
            help=f"What is asked for: {_DATASET}. Absent: each product of the catalogue, itself left out.",
            show_default=False,
        ),
    ] = None,
    json_file: Json = None,
    plots: Plots = None,
    bundle: BundleOption = None,
    limit: Limit = None,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Measure how often the ten most similar products are of the query's article type and gender."""
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, json_file) as run:
        document = run.retrieval(json_file, _plots_folder(plots, json_file))
    show_retrieval(document)
    _show_files(json_file, run.plots)


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate classification --catalogue train.zip --queries test.zip --json classes.json\n\n"
        "subCategory is found by the trained head, the derived type by candidates of the catalogue, article type and "
        f"gender by the first derived type: as the classifier answers users.\n\n{_EXIT_CODES}"
    )
)
def classification(
    catalogue: Catalogue,
    queries: Queries,
    json_file: Json = None,
    plots: Plots = None,
    bundle: BundleOption = None,
    limit: Limit = None,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Measure how often subCategory, article type, gender and derived type are recognised."""
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, json_file) as run:
        document = run.classification(json_file, _plots_folder(plots, json_file))
    show_classification(document)
    _show_files(json_file, run.plots)


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate report --catalogue train.zip --queries test.zip --output docs/evaluation.md\n\n"
        f"{_EXIT_CODES}"
    )
)
def report(
    catalogue: Catalogue,
    queries: Queries,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            dir_okay=False,
            help="The page to write; figures and plots go to a folder of the same name beside it.",
        ),
    ] = Path("docs/evaluation.md"),
    sheets: Annotated[
        Path,
        typer.Option(
            "--sheets",
            metavar="DIR",
            file_okay=False,
            help="Where pictures of queries with their results go. They hold the data set's photographs.",
        ),
    ] = Path("out/evaluation"),
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where both come from: a sentence for the page.")
    ] = "",
    bundle: BundleOption = None,
    limit: Limit = None,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Run all evaluations and write them up as a page, with plots, beside the figures of the project report."""
    from offline.evaluate.page import page

    folder = output.with_suffix("")
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, output) as run:
        found = run.retrieval(folder / "retrieval.json", folder)
        classes = run.classification(folder / "classification.json", folder)
        altered = run.robustness(folder / "robustness.json")
        # What takes other networks is measured by itself, and shown where it was.
        networks, unlearned = folder / "backbones.json", folder / "new-types.json"
        compared = json.loads(networks.read_text())["rows"] if networks.is_file() else None
        new = json.loads(unlearned.read_text()) if unlearned.is_file() else None
        run.training_history(folder)
        looked_at = run.sheets(sheets)
    show_retrieval(found)
    show_classification(classes)
    show_robustness(altered)
    # As typed, but for where things lie on this very machine.
    typed = [path.name if path.is_absolute() else str(path) for path in (catalogue, queries, output)]
    command = shlex.join(["fashion", "evaluate", "report", "--catalogue", typed[0], "--queries", typed[1]])
    command += f" --output {shlex.quote(typed[2])}" + (f" --limit {limit}" if limit is not None else "")
    plots = [f"{folder.name}/{path.name}" for path in run.plots]
    _write(output, page(found, classes, altered, compared, new, command, source, plots))
    _show_files(output, [*run.plots, *looked_at])


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate robustness --catalogue train.zip --queries test.zip --sheet out/altered.png\n\n"
        "Backgrounds, crops, distance, blur, JPEG, perspective, light, clutter, and a mixture of them.\n\n"
        f"{_EXIT_CODES}"
    )
)
def robustness(
    catalogue: Catalogue,
    queries: Queries,
    json_file: Json = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", dir_okay=False, help="Draw some of the altered photographs."),
    ] = None,
    bundle: BundleOption = None,
    limit: Limit = None,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Measure what remains where photographs are altered the way shoppers' uploads differ from studio shots."""
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, json_file) as run:
        if sheet is not None:
            run.altered_sheet(sheet)
        document = run.robustness(json_file)
    show_robustness(document)
    _show_files(json_file, [sheet] if sheet is not None else [])


@app.command(
    epilog=(
        "Example:\n\nfashion evaluate backbones --catalogue train.zip --queries test.zip --limit 500\n\n"
        "Where weights cannot be downloaded, the row says so and has no result.\n\n" + _EXIT_CODES
    )
)
def backbones(
    catalogue: Catalogue,
    queries: Queries,
    names: Annotated[
        list[str] | None, typer.Option("--network", metavar="NAME", help="Of keras.applications; repeatable.")
    ] = None,
    json_file: Json = None,
    bundle: BundleOption = None,
    limit: Limit = 500,
    catalogue_limit: Annotated[
        int, typer.Option("--catalogue-limit", metavar="N", min=10, help="Search only N products, drawn at random.")
    ] = 4000,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Compare the model with networks of keras.applications and ImageNet's weights, as the report chose its own."""
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, json_file) as run:
        rows = run.backbones(names, catalogue_limit)
    if json_file is not None:
        _write(json_file, _json({"rows": rows}))
    show_backbones(rows)


@app.command(
    "new-types",
    epilog=(
        "Example:\n\nfashion train my-shop.zip --leave-out 0.2 --run var/without\n\n"
        "fashion evaluate new-types var/without/bundle --catalogue train.zip --queries test.zip\n\n" + _EXIT_CODES
    ),
)
def new_types_command(
    without: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle trained with --leave-out.")],
    catalogue: Catalogue,
    queries: Queries,
    json_file: Json = None,
    bundle: BundleOption = None,
    limit: Limit = None,
    cache: Cache = None,
    seed: Seed = 0,
) -> None:
    """Measure what becomes of types that a network never learned from, beside a model (--bundle) that knows them."""
    with _evaluation(catalogue, queries, without, limit, cache, seed, json_file) as blind:
        pass
    with _evaluation(catalogue, queries, bundle, limit, cache, seed, json_file) as knowing:
        document = knowing.new_types(blind)
    from offline.train.command import training_command
    from services.bundle.reader import load_bundle

    document["trained_by"] = training_command(load_bundle(Path(without)))
    if json_file is not None:
        _write(json_file, _json(document))
    show_new_types(document)


class _Run:
    """One evaluation under way: what was embedded, and which plots were drawn."""

    def __init__(
        self,
        prepared: "Prepared",
        model: "EvaluatedModel",
        options: "EvaluationOptions",
        progress: "_Bars",
        bundle: Path,
    ) -> None:
        self._prepared = prepared
        self._model = model
        self._options = options
        self._progress = progress
        self._bundle = bundle
        self.plots: list[Path] = []

    @property
    def inputs(self) -> "Inputs":
        return self._prepared.inputs

    def retrieval(self, json_file: Path | None, plots: Path) -> dict[str, Any]:
        from offline.evaluate.documents import retrieval_document
        from offline.evaluate.plots import draw_performance
        from offline.evaluate.run import run_retrieval

        found = run_retrieval(self._prepared, self._model, self._options, self._progress)
        document = retrieval_document(found, self.inputs)
        if json_file is not None:
            _write(json_file, _json(document))
        self.plots += draw_performance(found.figures, plots)
        return document

    def classification(self, json_file: Path | None, plots: Path) -> dict[str, Any]:
        from offline.evaluate.documents import classification_document
        from offline.evaluate.plots import draw_confusion
        from offline.evaluate.run import run_classification

        found = run_classification(self._prepared, self._model, self._options, self._progress)
        document = classification_document(found, self.inputs)
        if json_file is not None:
            _write(json_file, _json(document))
        for name, figures in (("subCategory", found.sub_category), ("gender", found.gender)):
            title = f"{name}: {figures.accuracy * 100:.2f} % of {found.queries:,} queries right"
            path = plots / f"confusion-{name}.png"
            self.plots.append(draw_confusion(figures.confusion, figures.labels, title, path))
        return document

    def robustness(self, json_file: Path | None) -> dict[str, Any]:
        from offline.evaluate.documents import robustness_document
        from offline.evaluate.run import ROBUSTNESS_QUERIES, run_robustness

        rows = run_robustness(self._prepared, self._model, self._options, self._progress)
        document = robustness_document(rows, self.inputs, min(self.inputs.queries, ROBUSTNESS_QUERIES))
        if json_file is not None:
            _write(json_file, _json(document))
        return document

    def backbones(self, names: list[str] | None, catalogue_limit: int) -> list[dict[str, Any]]:
        from dataclasses import asdict

        from offline.dataset.rows import open_dataset
        from offline.evaluate.backbones import BACKBONES, compare_backbones, measure_bundle
        from offline.evaluate.products import drawn

        unknown = sorted(set(names or ()) - set(BACKBONES))
        if unknown:
            raise InvalidInput(f"{', '.join(unknown)}: not among {', '.join(BACKBONES)}", reason="NETWORK_UNKNOWN")
        queries, options = self._prepared.queries, self._options
        catalogue = self._prepared.catalogue.take(drawn(len(self._prepared.catalogue), catalogue_limit, options.seed))
        advance = self._progress.stage("networks", len(names or BACKBONES))
        with open_dataset(options.catalogue) as sold, open_dataset(options.queries or options.catalogue) as asked:
            rows = [measure_bundle(self._model.encoder, queries, catalogue)]
            rows += compare_backbones(
                names or list(BACKBONES), (asked, queries), (sold, catalogue), lambda row: advance(1)
            )
        return [asdict(row) for row in rows]

    def new_types(self, blind: "_Run") -> dict[str, Any]:
        """What becomes of types that the model of another run never learned from, and this one did."""
        from offline.evaluate.run import run_new_types

        prepared, models = (blind._prepared, self._prepared), (blind._model, self._model)
        return run_new_types(prepared, models, self._options, self._progress)

    def altered_sheet(self, path: Path) -> None:
        from offline.dataset.rows import open_dataset
        from offline.evaluate.robustness import robustness_sheet

        _make_folder(path.parent)
        with open_dataset(self._options.queries or self._options.catalogue) as dataset:
            robustness_sheet(dataset, self._prepared.queries.ids[:_SHEET_ROWS], self._options.seed).save(path)

    def sheets(self, folder: Path) -> list[Path]:
        from offline.evaluate.run import draw_sheets

        return draw_sheets(self._prepared, self._model, self._options, folder, self._progress)

    def training_history(self, plots: Path) -> None:
        """The bundle's own plot of its training, where it has one."""
        plot = self._bundle / "training.png"
        if plot.is_file():
            _make_folder(plots)
            self.plots.append(Path(shutil.copy(plot, plots / plot.name)))


@contextmanager
def _evaluation(
    catalogue: Path,
    queries: Path | None,
    bundle: str | None,
    limit: int | None,
    cache: Path | None,
    seed: int,
    written: Path | None,
) -> Iterator[_Run]:
    """Loads the model, embeds both sides, and names what was dropped."""
    # Threads that spin while they wait starve whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from cli.output import errors
    from offline.evaluate.model import load_model
    from offline.evaluate.run import EvaluationOptions, default_cache, prepare
    from services.embedder.processor import available_processors
    from services.embedder.settings import EmbedderSettings

    for path in (catalogue, queries):
        if path is not None and not path.exists():
            raise InvalidInput(f"{path}: no such file or folder", reason="DATASET_NOT_FOUND")
    if written is not None:
        # Told now rather than after minutes of work.
        _make_folder(written.parent)
    settings = EmbedderSettings(bundle=bundle) if bundle else EmbedderSettings()
    threads = settings.threads or available_processors()
    options = EvaluationOptions(catalogue, queries, limit, seed, cache or default_cache(), threads)
    model = load_model(settings)
    with _Bars() as progress:
        prepared = prepare(options, model, progress)
        for side, dropped in (
            ("catalogue", prepared.inputs.dropped_catalogue),
            ("queries", prepared.inputs.dropped_queries),
        ):
            for product in dropped:
                errors().print(f"{side}: left out {product.id or '(no id)'}: {product.reason}", markup=False)
        yield _Run(prepared, model, options, progress, Path(settings.bundle))


class _Bars:
    """A progress bar for each stage, with the time that is left; fulfils `offline.evaluate.run.Progress`."""

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


def _plots_folder(plots: Path | None, json_file: Path | None) -> Path:
    if plots is not None:
        return plots
    return _DEFAULT_PLOTS if json_file is None else json_file.parent


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror or error}", reason="FILE_UNWRITABLE") from None


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    _make_folder(path.parent)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}", reason="FILE_UNWRITABLE") from None


def _show_files(written: Path | None, plots: list[Path]) -> None:
    from cli.output import errors

    for path in [*([written] if written is not None else []), *plots]:
        errors().print(f"wrote {path}", markup=False, soft_wrap=True)
