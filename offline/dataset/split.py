"""The split of a data set by product, which never measures a twin of a training photograph."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

from offline.dataset.cells import cell_of
from offline.dataset.files import PHOTOGRAPHS_FOLDER, STYLES_FILE
from offline.dataset.row import OPTIONAL_COLUMNS, Row, column_of
from offline.dataset.rows import Dataset
from offline.whole_file import whole_file
from services.contract.errors import InvalidInput

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
PARTS_FILE = "parts.json"
DEFAULT_SALT = "fashion-split-1"
DEFAULT_FRACTIONS: Mapping[Part, float] = {"train": 0.85, "validation": 0.05, "test": 0.10}

# The earliest time that a zip can hold, so that the bytes of a subset depend only on its content.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def photograph_digests(dataset: Dataset, unreadable: dict[str, str] | None = None) -> dict[str, str]:
    """Returns the SHA-256 of each product's photograph in hexadecimal, by product id.

    Args:
        dataset: the products.
        unreadable: takes the reason by id of each photograph that cannot be read, which is left out; None refuses one.

    Raises:
        InvalidInput: a photograph cannot be read.
    """
    digests: dict[str, str] = {}
    for row in dataset.rows:
        try:
            digests[row.id] = hashlib.sha256(dataset.photograph(row.id)).hexdigest()
        except InvalidInput as error:
            if unreadable is None:
                raise
            unreadable[row.id] = error.message
    return digests


def twin_groups(rows: Sequence[Row], digests: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Groups products that show the same thing, also where only other products link them.

    Two products are twins when their names (case and spaces aside) and colours are the same, or their
    photographs are. Products without a name are twins by photograph alone.

    Args:
        rows: the products.
        digests: a digest of each product's photograph, by product id.

    Returns:
        Groups by their first id; ids in a group in ascending order.

    Raises:
        InvalidInput: a product has no digest.
    """
    parent = {row.id: row.id for row in rows}

    def root(product_id: str) -> str:
        while parent[product_id] != product_id:
            parent[product_id] = parent[parent[product_id]]
            product_id = parent[product_id]
        return product_id

    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.id not in digests:
            raise InvalidInput(f"Product {row.id} has no photograph digest.", reason="DIGEST_MISSING")
        alike.setdefault(("photograph", digests[row.id]), []).append(row.id)
        if row.name is not None:
            name = " ".join(row.name.casefold().split())
            alike.setdefault(("name", name, row.base_colour or ""), []).append(row.id)
    for ids in alike.values():
        for one, other in pairwise(ids):
            # The smallest id is always the root: it names the group.
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(root(row.id), []).append(row.id)
    return tuple(sorted(tuple(sorted(group)) for group in groups.values()))


def split(
    rows: Sequence[Row],
    photograph_digests: Mapping[str, str],
    salt: str = DEFAULT_SALT,
    fractions: Mapping[Part, float] = DEFAULT_FRACTIONS,
) -> dict[str, Part]:
    """Assigns each product to a part, twins together; only a group's smallest id and the salt decide.

    Args:
        rows: the products.
        photograph_digests: a digest of each product's photograph, by product id.
        salt: another salt gives another split.
        fractions: expected share of groups by part, each in [0, 1], with the sum 1; a part that is absent gets none.

    Returns:
        The part of each product, by product id, in the order of `rows`.

    Raises:
        InvalidInput: the fractions do not add up to 1, or a product has no digest.
    """
    groups = twin_groups(rows, photograph_digests)
    part_of = {
        product_id: part
        for group, part in zip(groups, part_of_groups(groups, salt, fractions), strict=True)
        for product_id in group
    }
    return {row.id: part_of[row.id] for row in rows}


def given_parts(dataset: Dataset, rows: Sequence[Row]) -> dict[str, Part] | None:
    """Returns the part of each product as `parts.json` of the data set gives it; None where there is no such file.

    Args:
        dataset: the data set.
        rows: those of its products whose parts are needed.

    Raises:
        InvalidInput: PART_UNKNOWN: the file lacks a product; DATASET_FILE_UNREADABLE: it is no object of JSON.
    """
    content = dataset.table(PARTS_FILE)
    if content is None:
        return None
    where = f"{PARTS_FILE} in {dataset.report.path}"
    try:
        parts = json.loads(content)
    # A million brackets are JSON, too.
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is no JSON ({error}): write it anew.", reason="DATASET_FILE_UNREADABLE") from error
    if not isinstance(parts, dict):
        raise InvalidInput(
            f'{where} is no object of parts by product id, such as {{"1163": "train"}}: write it anew.',
            reason="DATASET_FILE_UNREADABLE",
        )
    if absent := [row.id for row in rows if parts.get(row.id) not in PARTS]:
        raise InvalidInput(f"{where} names no part of product {absent[0]}.", reason="PART_UNKNOWN")
    return {row.id: parts[row.id] for row in rows}


def part_of_groups(
    groups: Sequence[tuple[str, ...]], salt: str = DEFAULT_SALT, fractions: Mapping[Part, float] = DEFAULT_FRACTIONS
) -> list[Part]:
    """Returns the part of each group of twins; only its smallest id and the salt decide.

    Args:
        groups: as `twin_groups` gives them.
        salt: another salt gives another split.
        fractions: expected share of groups by part, each in [0, 1], with the sum 1; a part that is absent gets none.

    Raises:
        InvalidInput: the fractions do not add up to 1.
    """
    shares = [fractions.get(part, 0.0) for part in PARTS]
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9 or not fractions.keys() <= set(PARTS):
        raise InvalidInput(
            f"The fractions {dict(fractions)} are not shares of {', '.join(PARTS)} that add up to 1.",
            reason="FRACTIONS_INVALID",
        )
    return [_part(group[0], salt, shares) for group in groups]


def _part(group: str, salt: str, shares: Sequence[float]) -> Part:
    digest = hashlib.sha256(f"{salt}\0{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    reached = 0.0
    for part, share in zip(PARTS, shares, strict=True):
        reached += share
        if position < reached:
            return part
    # Rounding can leave the sum just below 1: then the last part that takes anything.
    return next(part for part, share in zip(reversed(PARTS), reversed(shares), strict=True) if share > 0)


def write_subset(dataset: Dataset, ids: Collection[str], path: Path) -> None:
    """Writes some products of a data set as a zip in Kaggle's layout, with unchanged photographs.

    The file appears whole or not at all, and its bytes depend only on its content.

    Args:
        dataset: the products; they keep its order.
        ids: the products to write.
        path: the zip to write, replaced if it exists.

    Raises:
        InvalidInput: an id is not in the data set, or its photograph cannot be read.
    """
    wanted = set(ids)
    rows = [row for row in dataset.rows if row.id in wanted]
    unknown = sorted(wanted - {row.id for row in rows})
    if unknown:
        raise InvalidInput(
            f"The data set does not have {len(unknown)} of the products, among them {unknown[0]}.",
            reason="PRODUCT_UNKNOWN",
        )
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, STYLES_FILE, styles_csv(rows), zipfile.ZIP_DEFLATED)
        # A part without products is a data set too.
        _add(archive, f"{PHOTOGRAPHS_FOLDER}/", b"", zipfile.ZIP_STORED)
        for row in rows:
            suffix = Path(dataset.photograph_name(row.id)).suffix.lower()
            content = dataset.photograph(row.id)
            _add(archive, f"{PHOTOGRAPHS_FOLDER}/{row.id}{suffix}", content, zipfile.ZIP_STORED)


def styles_csv(rows: Sequence[Row]) -> bytes:
    """Returns `styles.csv` for some products: UTF-8, quoted where needed, empty where unknown."""
    fields = column_of([each for each in OPTIONAL_COLUMNS if any(getattr(row, each) is not None for row in rows)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields.values())
    writer.writerows([cell_of(getattr(row, field)) for field in fields] for row in rows)
    return text.getvalue().encode()


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    info = zipfile.ZipInfo(name, _ZIP_EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
