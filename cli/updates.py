"""Reads tables of changes to products, and sends them: CSV, or JSON Lines of merge patches."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli.connection import MAX_CALL_ROWS
from cli.files import read_file
from services.contract.attributes import BY_NAME, STORED, Kind
from services.contract.errors import FashionError, InvalidInput

if TYPE_CHECKING:
    from fashion.v1 import search_pb2
    from services.clients.search import SearchClient

_LINES: Final = (".jsonl", ".ndjson")
_COLOURS: Final = tuple(each.name for each in STORED if each.kind is Kind.COLOUR)
# What the cells that are no plain text look like.
_EXAMPLES: Final = {
    Kind.PRICE: "19.99 EUR",
    Kind.FLAG: "yes or no",
    Kind.YEAR: "2016",
    Kind.GENDER: "Women",
    Kind.OWN: '{"material": ["Cotton"]}',
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that was not taken: its line in the file, the product as far as it is known, and why."""

    line: int
    product_id: str
    reason: str
    message: str


@dataclass(slots=True)
class Outcome:
    """What became of the rows of a file so far.

    Attributes:
        updated: products that changed.
        unchanged: products that were the same already.
        failures: rows that were not taken, by line once all were sent.
        not_sent: rows whose call the server has not answered, or that no call has sent.
        index_version: the version of the index after the last write; None without one.
    """

    updated: int = 0
    unchanged: int = 0
    failures: list[Failure] = field(default_factory=list)
    not_sent: int = 0
    index_version: int | None = None


def read_changes(path: Path) -> list[tuple[int, "search_pb2.ProductUpdate | Failure"]]:
    """Reads the rows of a file, each with its line. An empty cell of a table changes nothing; null in JSON forgets.

    Raises:
        InvalidInput: FILE_UNREADABLE, TABLE_UNREADABLE: it is no table of changes.
    """
    content = read_file(path)
    if path.suffix.lower() not in _LINES:
        rows = _of_table(path, content)
    else:
        try:
            rows = _of_lines(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
    return [(line, fields if isinstance(fields, Failure) else _update(line, fields)) for line, fields in rows]


async def send_changes(
    client: "SearchClient", rows: Sequence[tuple[int, "search_pb2.ProductUpdate | Failure"]], outcome: Outcome
) -> None:
    """Sends rows, in their order.

    Args:
        client: a client of the search service.
        rows: the rows, each with its line, as `read_changes` returns them.
        outcome: takes what became of them, after each call.

    Raises:
        FashionError: the server refused a call, or does not answer; `outcome` has those before.
    """
    from fashion.v1 import search_pb2

    outcome.failures += [row for _, row in rows if isinstance(row, Failure)]
    sent = [(line, row) for line, row in rows if not isinstance(row, Failure)]
    outcome.not_sent = len(sent)
    for start in range(0, len(sent), MAX_CALL_ROWS):
        batch = sent[start : start + MAX_CALL_ROWS]
        response = await client.update_products([update for _, update in batch])
        outcome.not_sent -= len(batch)
        outcome.index_version = response.index_version
        for (line, _), result in zip(batch, response.results, strict=True):
            if result.status.code:
                failure = Failure(line, result.product_id, result.status.reason, result.status.message)
                outcome.failures.append(failure)
            elif result.outcome == search_pb2.UPSERT_OUTCOME_UNCHANGED:
                outcome.unchanged += 1
            else:
                outcome.updated += 1
    outcome.failures.sort(key=lambda each: each.line)


def _not_utf8(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} is not UTF-8: save it so.", reason="TABLE_UNREADABLE")


def _of_lines(text: str) -> Iterator[tuple[int, object]]:
    from offline.dataset.table import lines_of

    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _of_table(path: Path, content: bytes) -> Iterator[tuple[int, object]]:
    from offline.dataset.table import Table

    known = {"id", *(each.name for each in STORED)}
    table = Table(io.BytesIO(content), known)
    header = table.header
    faults = [f'"{name[:64]}" is no field; ' for name in header if name not in known]
    faults += [f'"{name}" stands more than once; ' for name in sorted(known) if header.count(name) > 1]
    if faults or "id" not in header or len(header) < 2:
        raise InvalidInput(
            f"{path} has no table of changes: {faults[0] if faults else ''}its first line must name id and fields once "
            f"each, among {', '.join(sorted(known))}.",
            reason="TABLE_UNREADABLE",
        )
    for record in table:
        if table.lines_by_fallback:
            raise _not_utf8(path)
        if record.repairs:
            # A price that is read as well as possible may be a wrong one.
            raise InvalidInput(
                f"{path}, line {record.line}, has quotes that do not pair: mend it.", reason="TABLE_UNREADABLE"
            )
        cells = dict(zip(header, map(str.strip, record.cells), strict=False))
        fields: object
        try:
            fields = _fields(cells)
        except InvalidInput as error:
            fields = Failure(record.line, cells.get("id", ""), error.reason, error.message)
        yield record.line, fields


def _fields(cells: Mapping[str, str]) -> Mapping[str, Any]:
    """Returns the cells of a row as a merge patch.

    Raises:
        InvalidInput: REQUEST_INVALID; a cell cannot be read.
    """
    return {name: _value(name, cell) for name, cell in cells.items() if cell}


def _value(name: str, cell: str) -> Any:
    from offline.dataset.amounts import price_of
    from offline.feeds import values

    value: Any = cell
    match BY_NAME[name].kind if name in BY_NAME else Kind.IDENTIFIER:
        case Kind.PRICE:
            price = price_of(cell)
            value = price and {"amount": f"{price.units}.{price.nanos:09d}", "currency": price.currency_code}
        case Kind.FLAG:
            value = values.in_stock(cell)
        case Kind.YEAR:
            value = int(cell) if cell.isascii() and cell.isdecimal() and len(cell) == 4 else None
        case Kind.GENDER:
            value = values.gender_of_word(cell)
        case Kind.OWN:
            try:
                value = json.loads(cell)
            except (ValueError, RecursionError):
                value = None
            value = value if isinstance(value, dict) else None
    if value is None:
        raise InvalidInput(
            f'The {name} "{cell[:64]}" cannot be read: write it like {_EXAMPLES[BY_NAME[name].kind]}.',
            reason="REQUEST_INVALID",
        )
    return value


def _update(line: int, fields: object) -> "search_pb2.ProductUpdate | Failure":
    from offline.feeds import values
    from services.gateway.conversion.requests import product_update_to_proto
    from services.gateway.schema.problems import validated
    from services.gateway.schema.product_changes import NamedChange

    product_id = str(fields.get("id", "")) if isinstance(fields, dict) else ""
    if not isinstance(fields, dict):
        return Failure(line, "", "REQUEST_INVALID", "The line is no JSON object.")
    # Otherwise a dislike of Blue would not cover what "Blau" has become.
    colours = {name: values.colour(fields[name]) for name in _COLOURS if isinstance(fields.get(name), str)}
    try:
        change = validated(NamedChange, fields | colours)
    except FashionError as error:
        return Failure(line, product_id, error.reason, error.message)
    return product_update_to_proto(change.id, change)
