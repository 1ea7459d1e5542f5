"""`fashion dataset`: downloads, draws, splits and checks data sets in Kaggle's layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import write_file
from services.contract.errors import InvalidInput, Upstream

if TYPE_CHECKING:
    from offline.dataset.report import DatasetReport

SMALL = "paramaggarwal/fashion-product-images-small"
LARGE = "paramaggarwal/fashion-product-images-dataset"

app = typer.Typer(
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Download, draw, split or check a data set in Kaggle's layout: styles.csv and images/ID.jpg.",
    epilog="Example: fashion dataset draw demo-catalogue",
)

DatasetPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="The data set: a folder or a zip in Kaggle's layout.")
]


@app.command(
    epilog=(
        "Examples:\n\nfashion dataset download\n\nfashion dataset download --full\n\n"
        "Exit codes: 0 done · 4 no network, no credentials or no permission"
    )
)
def download(
    full: Annotated[
        bool,
        typer.Option("--full", help=f"Take the large photographs ({LARGE}, about 25 GB) instead of 60 x 80 pixels."),
    ] = False,
) -> None:
    """Download the public data set from Kaggle, and print its folder."""
    import kagglehub

    handle = LARGE if full else SMALL
    try:
        folder = kagglehub.dataset_download(handle)
    except Exception as error:  # kagglehub passes on any exception of its libraries
        raise _download_error(handle, error) from error
    typer.echo(folder)


def _download_error(handle: str, error: Exception) -> Upstream:
    """Describes why a download failed, and what to do."""
    import requests
    from kagglehub.exceptions import CredentialError, UnauthenticatedError

    status = (
        error.response.status_code if isinstance(error, requests.HTTPError) and error.response is not None else None
    )
    if isinstance(error, (CredentialError, UnauthenticatedError)) or status in (401, 403):
        return Upstream(
            f"Kaggle refused {handle}: put a token in ~/.kaggle/kaggle.json, or set KAGGLE_USERNAME and KAGGLE_KEY.",
            reason="KAGGLE_REFUSED",
        )
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return Upstream(
            f"Kaggle cannot be reached to download {handle}. Without a network, "
            "`fashion dataset draw FOLDER` makes a demo catalogue.",
            reason="KAGGLE_UNREACHABLE",
        )
    text = " ".join(str(error).split()) or type(error).__name__
    return Upstream(f"The download of {handle} failed: {text}.", reason="KAGGLE_FAILED")


@app.command(
    epilog=(
        "Example: fashion dataset draw demo-catalogue --products 480\n\n"
        "The same seed gives the same files. OUT must be new or empty.\n\nExit codes: 0 done · 2 bad input, or OUT is "
        "not empty"
    )
)
def draw(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder for the data set, which need not exist.")],
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed gives other products.")] = 7,
    products: Annotated[
        int, typer.Option("--products", metavar="N", min=1, max=5000, help="Number of products to draw.")
    ] = 480,
) -> None:
    """Draw a demo catalogue: products that do not exist, in Kaggle's layout, with invented prices and materials."""
    from cli import output
    from offline.dataset.rows import open_dataset
    from offline.drawn import draw_catalogue

    with output.errors().status(f"drawing {products} products"):
        draw_catalogue(out, seed=seed, products=products)
    with open_dataset(out) as dataset:
        types = len({row.derived_type for row in dataset.rows})
        typer.echo(f"{out}: {len(dataset.rows)} products of {types} derived types")


@app.command(
    epilog=(
        "Example: fashion dataset split fashion-product-images-small.zip parts\n\n"
        "Products with the same name and colour, or with the same photograph, go into the same part. "
        "The same salt gives the same split.\n\nExit codes: 0 done · 2 bad input"
    )
)
def split(
    path: DatasetPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder for train.zip, validation.zip and test.zip.")],
    salt: Annotated[
        str | None, typer.Option("--salt", metavar="TEXT", help="Another salt gives another split.")
    ] = None,
) -> None:
    """Split a data set into train.zip, validation.zip and test.zip: 85, 5 and 10 percent of its groups of twins."""
    from cli import output
    from offline.dataset.rows import open_dataset
    from offline.dataset.split import DEFAULT_SALT, PARTS, part_of_groups, photograph_digests, twin_groups, write_subset

    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file, not a folder: name a folder.", reason="NOT_A_FOLDER")
    with open_dataset(path) as dataset, output.errors().status("comparing photographs") as status:
        unreadable: dict[str, str] = {}
        digests = photograph_digests(dataset, unreadable)
        groups = twin_groups([row for row in dataset.rows if row.id in digests], digests)
        parts = part_of_groups(groups, salt or DEFAULT_SALT)
        rows = []
        for part in PARTS:
            status.update(f"writing {part}.zip")
            in_part = [group for group, its_part in zip(groups, parts, strict=True) if its_part == part]
            ids = {product for group in in_part for product in group}
            file = out / f"{part}.zip"
            write_subset(dataset, ids, file)
            types = len({row.derived_type for row in dataset.rows if row.id in ids})
            rows.append((part, f"{len(ids):,}", f"{len(in_part):,}", f"{types:,}", str(file)))
    right = {"justify": "right"}
    # Where it is narrow, nothing may be cut off but folded: the names of the parts, and where they are.
    whole = {"min_width": max(map(len, PARTS))}
    folded = {"no_wrap": False, "overflow": "fold"}
    columns: list[tuple[str, dict[str, Any]]] = [
        ("part", whole),
        ("products", right),
        ("groups", right),
        ("derived types", right),
        ("file", folded),
    ]
    output.console().print(output.plain_table(columns, rows))
    for product_id, why in unreadable.items():
        output.errors().print(f"Product {product_id} is left out: {why}", markup=False, soft_wrap=True, style="yellow")


@app.command(
    epilog=(
        "Examples:\n\nfashion dataset check fashion-product-images-small.zip\n\n"
        "fashion dataset check my-shop/ --json report.json\n\n"
        "Exit codes: 0 readable, also with rows that were repaired or dropped · 2 no data set, or a broken one"
    )
)
def check(
    path: DatasetPath,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", dir_okay=False, help="Write the whole report as JSON to this file."),
    ] = None,
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="Number of findings to print.")] = 20,
) -> None:
    """Read a data set, and show every row that was repaired or dropped, and why."""
    from offline.dataset.rows import open_dataset

    with open_dataset(path) as dataset:
        report = dataset.report
    if json_file is not None:
        write_file(json_file, report.to_json() + "\n")
    _print_report(report, show)


@app.command(
    epilog=(
        "Examples:\n\npip install -e '.\\[teacher]'\n\n"
        "fashion dataset teach shop.zip photos.zip --output teacher.npz\n\n"
        "Give all products' photographs at about one size: the teacher tells sizes apart before garments.\n\n"
        "Exit codes: 0 done · 2 no data set, or the extra `teacher` is not installed"
    )
)
def teach(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="The data sets: folders or zips in Kaggle's layout.")
    ],
    teacher_file: Annotated[
        Path, typer.Option("--output", metavar="FILE", dir_okay=False, help="The file of the features.")
    ] = Path("teacher.npz"),
) -> None:
    """Compute the features of a teacher, EfficientNet-Lite2, for `fashion train --teacher`."""
    from cli import output
    from offline.train.teacher import teach as teach_datasets

    with output.errors().status("asking the teacher"):
        features = teach_datasets(paths)
    features.save(teacher_file)
    typer.echo(f"{teacher_file}: {features.values.shape[1]} features of {len(features.ids):,} photographs")


def _print_report(report: "DatasetReport", show: int) -> None:
    from cli import output

    console = output.console()
    right = {"justify": "right"}
    if (report.encoding, report.delimiter) != ("utf-8", "comma"):
        console.print(f"The table is read as {report.encoding}; its delimiter is the {report.delimiter}.\n")
    facts = [
        ("rows read", report.rows_read),
        ("products", report.rows_kept),
        ("repaired", report.rows_repaired),
        ("dropped", report.rows_dropped),
        *((f"  {reason}", count) for reason, count in sorted(report.dropped_reasons.items())),
        ("photographs", report.photographs),
        ("photographs without a row", report.photographs_without_row),
        *((f"products without {column}", count) for column, count in sorted(report.missing.items())),
    ]
    console.print(
        output.plain_table([(report.path, {"overflow": "fold"}), ("", right)], [(name, f"{n:,}") for name, n in facts])
    )
    if not report.findings or show == 0:
        return
    # Losses before repairs.
    order = {"dropped": 0, "repaired": 1, "note": 2}
    findings = sorted(report.findings, key=lambda finding: (order[finding.kind], finding.line))
    console.print()
    console.print(
        output.plain_table(
            [("line", right), ("id", {}), ("what", {}), ("why", {"no_wrap": False, "overflow": "fold"})],
            [
                (str(finding.line) if finding.line else "–", finding.id, finding.kind, finding.reason)
                for finding in findings[:show]
            ],
        )
    )
    if len(findings) > show:
        console.print(f"… and {len(findings) - show:,} more; --show N prints more, --json FILE writes all", style="dim")
