"""The material of the demo: the drawn catalogue, or a data set with a few products held out."""

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cli import ingestion, output
from offline.dataset.row import Row
from offline.dataset.rows import Dataset, open_dataset
from offline.dataset.split import twin_groups
from services.contract.errors import FashionError
from services.contract.values import Gender, derived_type

if TYPE_CHECKING:
    from services.clients.search import SearchClient

DEMO_HOME = Path("var/demo")
# What the demo leaves behind. The examples of README and docs name one of its photographs.
DEMO_OUT = Path("out/demo")
EXAMPLE_PHOTOGRAPH = DEMO_OUT / "yellow-shirt.jpg"
SEED = 7
PRODUCTS = 480
HELD_OUT = 12
DISLIKED = "Yellow"
# Below this many products, or this share of a large catalogue, a derived type shows too little.
_MIN_OF_A_TYPE = 12
_MIN_SHARE_OF_A_TYPE = 1 / 400
_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A photograph that is not in the catalogue, and its true labels.

    Attributes:
        name: its name for people, such as "product 1163 (held out)".
        content: the encoded file.
        derived_type: such as "Men Tshirts".
        sub_category: such as "Topwear".
        colour: the main colour; None where it is unknown.
        file_name: the name of the file that the demo leaves, such as "1163.jpg".
    """

    name: str
    content: bytes
    derived_type: str
    sub_category: str
    colour: str | None
    file_name: str


@dataclass(frozen=True, slots=True)
class Material:
    """The material of the demo.

    Attributes:
        rows: the rows of the catalogue.
        held_out: ids of products that must not be in the catalogue.
        photographs: the photographs to search with.
    """

    rows: Sequence[Row]
    held_out: tuple[str, ...]
    photographs: tuple[HeldOut, ...]


def choose_held_out(rows: Sequence[Row], digests: Mapping[str, str], count: int = HELD_OUT) -> tuple[Row, ...]:
    """Chooses products to hold out: always the same, and none with a twin in the catalogue, which search would find.

    Half of them, where possible, are of the colour that the demo's shopper dislikes, as their neighbours often are.

    Args:
        rows: all products.
        digests: a digest of each product's photograph, by id.
        count: the number to hold out at most; never more than one in ten.
    """
    singles = {group[0] for group in twin_groups(rows, digests) if len(group) == 1 and digests[group[0]] != _UNREADABLE}
    of_type: dict[str, int] = {}
    for row in rows:
        of_type[row.derived_type] = of_type.get(row.derived_type, 0) + 1
    enough = max(_MIN_OF_A_TYPE, len(rows) * _MIN_SHARE_OF_A_TYPE)
    eligible = sorted(
        (row for row in rows if row.id in singles and of_type[row.derived_type] >= enough),
        key=lambda row: hashlib.sha256(row.id.encode()).digest(),
    )
    count = min(count, len(rows) // 10)
    chosen: list[Row] = []
    taken: set[str] = set()
    disliked = [row for row in eligible if row.base_colour == DISLIKED]
    for pool, wanted in ((disliked, count // 2), (eligible, count)):
        for row in pool:
            # One per type, so that the demo shows different things.
            if len(chosen) < wanted and row.derived_type not in taken:
                chosen.append(row)
                taken.add(row.derived_type)
    return tuple(chosen)


def photograph_digests(dataset: Dataset, rows: Sequence[Row]) -> dict[str, str]:
    """Returns a digest of each row's photograph by id; unreadable ones share a digest, so that none is held out."""
    digests: dict[str, str] = {}
    for row in rows:
        try:
            digests[row.id] = hashlib.sha256(dataset.photograph(row.id)).hexdigest()
        except FashionError:
            digests[row.id] = _UNREADABLE
    return digests


def held_out_material(dataset: Dataset, rows: Sequence[Row]) -> Material:
    """Divides the rows of a data set into a catalogue and a few photographs to search with."""
    held_out = choose_held_out(rows, photograph_digests(dataset, rows))
    ids = {row.id for row in held_out}
    photographs = tuple(
        HeldOut(
            f"product {row.id} (held out)",
            dataset.photograph(row.id),
            row.derived_type,
            row.sub_category,
            row.base_colour,
            # An id may hold a slash.
            re.sub(r"[^\w.-]", "_", row.id) + ".jpg",
        )
        for row in held_out
    )
    return Material(tuple(row for row in rows if row.id not in ids), tuple(sorted(ids)), photographs)


def drawn_photographs() -> tuple[HeldOut, ...]:
    """Returns drawn photographs of products that the drawn catalogue does not hold."""
    from offline.drawn import held_out_photographs

    return tuple(
        HeldOut(
            f"{held_out.name}.jpg",
            held_out.photograph,
            derived_type(Gender(held_out.spec.gender), held_out.spec.article_type),
            held_out.spec.sub_category,
            held_out.spec.base_colour,
            f"{held_out.name}.jpg",
        )
        for held_out in held_out_photographs(seed=SEED)
    )


def leave_photographs(photographs: Sequence[HeldOut], folder: Path) -> None:
    """Writes photographs into a folder, for people to search with."""
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in photographs:
        (folder / photograph.file_name).write_bytes(photograph.content)


def demo_dataset_name(path: Path) -> str:
    """Returns a directory name for a data set, which its name and place decide."""
    resolved = path.resolve()
    return f"{resolved.stem}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"


def drawn_catalogue(folder: Path, to: Console) -> Path:
    """Returns the folder of the drawn catalogue in Kaggle's layout, below `folder`; draws it the first time."""
    from offline.drawn import draw_catalogue

    target = _drawn(folder)
    if not (target / "styles.csv").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # Drawn elsewhere and moved into place, so that an interrupted drawing leaves nothing.
        with (
            output.status(to, f"Drawing a demo catalogue of {PRODUCTS} products …"),
            tempfile.TemporaryDirectory(prefix=".drawing-", dir=folder) as beside,
        ):
            drawing = Path(beside) / target.name
            draw_catalogue(drawing, seed=SEED, products=PRODUCTS)
            drawing.rename(target)
    return target


def _drawn(folder: Path) -> Path:
    # The last part tells it from the one of an earlier version, which had neither prices nor own attributes.
    return folder / f"drawn-{SEED}-{PRODUCTS}-priced"


async def fill_if_empty(client: "SearchClient", folder: Path, to: Console) -> None:
    """Puts the drawn catalogue into an empty catalogue, or goes on with an earlier fill that was interrupted.

    Leaves the photographs that the examples name in `DEMO_OUT`.

    Raises:
        FashionError: the server refused, or does not answer.
    """
    if not EXAMPLE_PHOTOGRAPH.is_file():
        with output.status(to, "Drawing photographs to search with …"):
            leave_photographs(drawn_photographs(), DEMO_OUT)
    count = (await client.get_index()).product_count
    if count:
        # A fill that was interrupted has left its drawings.
        interrupted = count < PRODUCTS and _drawn(folder).is_dir()
        if interrupted:
            first = (await client.list_products(page_size=1)).products[0]
            with open_dataset(drawn_catalogue(folder, to)) as dataset:
                drawn = {row.id: row.name for row in dataset.rows}
            interrupted = count < len(drawn) and drawn.get(first.id) == first.name
        if not interrupted:
            to.print(f"The catalogue holds {count:,} products already: nothing to fill.")
            return
    with open_dataset(drawn_catalogue(folder, to)) as dataset:
        report = await ingestion.run(client, dataset, rows=dataset.rows, to=to)
    to.print(ingestion.summary(report), markup=False)
