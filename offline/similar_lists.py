"""The file of a nightly list: what is most similar to each product, as CSV, JSON Lines or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TextIO

from offline.whole_file import whole_file
from services.contract.errors import InvalidInput

COLUMNS = ("product_id", "rank", "similar_product_id", "similarity")
# Further columns, where there are such values.
RANK_SCORE = "rank_score"
RUNG = "rung"


class ListFormat(Enum):
    """The format of the file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class SimilarHit(NamedTuple):
    """A similar product: its id, its similarity in [-1, 1], and its values of the further columns."""

    product_id: str
    similarity: float
    further: tuple[float | str, ...] = ()


@dataclass(frozen=True, slots=True)
class SimilarList:
    """The products most similar to one.

    Attributes:
        product_id: the product.
        hits: in the order of the answer.
    """

    product_id: str
    hits: tuple[SimilarHit, ...]


WriteLists = Callable[[Sequence[SimilarList]], None]


@contextmanager
def open_lists(path: Path, form: ListFormat, further: Sequence[str] = ()) -> Iterator[WriteLists]:
    """Yields what writes some more lists to a file, which appears at `path` only once it is whole.

    CSV and Parquet have one row per pair, with `COLUMNS`; ranks count from 1. JSON Lines have one object per product,
    also for a product that nothing is similar to. Similarities are float32, in their shortest decimal form.

    Args:
        path: the file.
        form: its format.
        further: the further columns.

    Raises:
        InvalidInput: PARQUET_UNAVAILABLE, pyarrow is not installed.
        OSError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        if form is ListFormat.PARQUET:
            with _parquet(temporary, further) as write:
                yield write
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield _csv(file, further) if form is ListFormat.CSV else _json_lines(file, further)


def _csv(file: TextIO, further: Sequence[str]) -> WriteLists:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*COLUMNS, *further))

    def write(lists: Sequence[SimilarList]) -> None:
        writer.writerows(row for each in lists for row in _pairs(each))

    return write


def _json_lines(file: TextIO, further: Sequence[str]) -> WriteLists:
    names = ("product_id", *COLUMNS[3:], *further)

    def write(lists: Sequence[SimilarList]) -> None:
        for each in lists:
            hits = [dict(zip(names, pair[2:], strict=True)) for pair in _pairs(each)]
            file.write(json.dumps({"product_id": each.product_id, "similar": hits}, ensure_ascii=False) + "\n")

    return write


@contextmanager
def _parquet(path: Path, further: Sequence[str]) -> Iterator[WriteLists]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise InvalidInput(
            "Parquet needs pyarrow: install the extra `parquet`, or export csv or jsonl.", reason="PARQUET_UNAVAILABLE"
        ) from None
    columns = (*COLUMNS, *further)
    kinds = dict(zip(COLUMNS, (pa.string(), pa.int32(), pa.string(), pa.float32()), strict=True))
    kinds |= {RANK_SCORE: pa.float64(), RUNG: pa.string()}
    schema = pa.schema([(name, kinds[name]) for name in columns])
    with parquet.ParquetWriter(path, schema) as writer:

        def write(lists: Sequence[SimilarList]) -> None:
            rows = [row for each in lists for row in _pairs(each)]
            values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
            arrays = [pa.array(each, kind.type) for each, kind in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

        yield write


def _pairs(similar: SimilarList) -> Iterator[tuple[str | int | float, ...]]:
    for rank, (product_id, similarity, further) in enumerate(similar.hits, start=1):
        yield (similar.product_id, rank, product_id, _short(similarity), *further)


def _short(similarity: float) -> float:
    """Returns the shortest decimal number that is the same float32."""
    import numpy as np

    return float(str(np.float32(similarity)))
