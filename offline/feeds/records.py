"""The rows of a source that is no delimited text: XML, JSON Lines, Parquet; each as a `Record` under one header."""

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any, Final, Protocol, overload
from xml.etree.ElementTree import Element, ParseError

from offline.dataset.table import MAX_LINE_BYTES, MAX_VALUES, Record, require_few
from offline.feeds.attributes import WHOLE
from offline.spool import Spool
from services.contract.errors import InvalidInput

# Elements that hold a product: RSS 2.0, RDF (RSS 1.0) and Atom.
_ITEMS: Final = frozenset({"item", "entry"})
_MAX_TEXT: Final = 1 << 20
# So deep no feed is nested, so many elements no product has, and so many columns no source names: each row is looked at
# under each column.
_MAX_DEPTH: Final = 64
_MAX_ELEMENTS: Final = 10_000
_MAX_COLUMNS: Final = 2_000
# An item takes memory; the feed does not. A document of JSON in one piece does.
_MAX_ITEM_BYTES: Final = 64 << 20
_MAX_DOCUMENT_BYTES: Final = 1 << 30
_BUFFER_BYTES: Final = 1 << 18


class Records(Protocol):
    """The rows of a source.

    Attributes:
        header: the names of the columns.
        place: what `Record.line` counts: "line", "item" or "row".
        complete: whether the source has an end; known once all rows are read.
        notes: what is odd about the source as a whole; sentences for people.
    """

    header: Sequence[str]
    place: str
    complete: bool
    notes: list[str]

    def __iter__(self) -> Iterator[Record]:
        """Yields the rows, once."""
        ...


class Entries:
    """Rows that come as names and values: their header is what any of them names, in the order of appearance."""

    def __init__(self, place: str) -> None:
        self.header: Sequence[str] = ()
        self.place = place
        self.complete = True
        self.notes: list[str] = []
        self._rows: Spool[tuple[int, Mapping[str, str], tuple[str, ...]]] = Spool()
        self._names: dict[str, None] = {}

    def add(self, number: int, values: Mapping[str, str], repairs: tuple[str, ...] = ()) -> None:
        """Adds a row with its place in the source, from 1.

        Raises:
            InvalidInput: FEED_UNREADABLE; the rows name too many columns.
        """
        self._names.update(dict.fromkeys(values))
        if len(self._names) > _MAX_COLUMNS:
            raise InvalidInput(
                f"The rows name more than {_MAX_COLUMNS:,} different columns, such as {list(self._names)[-1][:64]!r}. "
                "Name fields alike in all rows.",
                reason="FEED_UNREADABLE",
            )
        self._rows.append((number, values, repairs))

    def end(self) -> None:
        """Makes the header, once all rows are there."""
        self.header = tuple(self._names)

    def cut_off(self, kind: str) -> None:
        """Notes that the source ends in the middle."""
        self.complete = False
        self.notes.append(f"the {kind} is cut off after {self.place} {len(self._rows)}: what comes before is read")

    def __iter__(self) -> Iterator[Record]:
        """Yields the rows."""
        for number, values, repairs in self._rows:
            yield Record(number, _Cells(self.header, values), repairs)


class _Cells(Sequence[str]):
    """The cells of a row that holds a value for few of many columns."""

    def __init__(self, header: Sequence[str], values: Mapping[str, str]) -> None:
        self._header, self._values = header, values

    def __len__(self) -> int:
        return len(self._header)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...

    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self._values.get(name, "") for name in self._header[place]]
        return self._values.get(self._header[place], "")


class _Watched:
    """A file for a parser that keeps what it reads until an item ends."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._since_item = 0

    def item_ended(self) -> None:
        """Counts anew."""
        self._since_item = 0

    def read(self, size: int = -1) -> bytes:
        """Reads as a file does; raises InvalidInput, FEED_UNSAFE, where no item ends."""
        part = self._file.read(size)
        self._since_item += len(part)
        if self._since_item > _MAX_ITEM_BYTES:
            raise InvalidInput(
                f"The XML has {_MAX_ITEM_BYTES:,} bytes in which no item ends. A feed holds products as <item> or "
                "<entry>.",
                reason="FEED_UNSAFE",
            )
        return part


def xml_records(file: IO[bytes]) -> Entries:
    """Reads a feed in RSS or Atom with Google's `g:` names; a place is the number of an item.

    An element that stands several times, such as `additional_image_link`, becomes one cell with commas. What an element
    holds in elements of its own, such as a price of shipping, is left out.

    Raises:
        InvalidInput: FEED_UNSAFE, it declares entities or is nested too deep; FEED_UNREADABLE, it is no XML or holds no
            item.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    entries, number = Entries("item"), 0
    inside = elements = 0
    root: Element | None = None
    open_elements: list[Element] = []
    watched = _Watched(file)
    try:
        for event, element in iterparse(watched, ("start", "end"), forbid_dtd=False):
            name = _local(element.tag)
            if event == "start":
                root = element if root is None else root
                open_elements.append(element)
                inside += name in _ITEMS
                elements = elements + 1 if inside else 0
                if len(open_elements) > _MAX_DEPTH or elements > _MAX_ELEMENTS:
                    raise InvalidInput(
                        f"The XML nests elements deeper than {_MAX_DEPTH}, or more than {_MAX_ELEMENTS:,} in one item, "
                        f"at item {number + 1}. A feed holds products as <item> or <entry>.",
                        reason="FEED_UNSAFE",
                    )
                continue
            open_elements.pop()
            if name in _ITEMS:
                inside -= 1
                if not inside:
                    number += 1
                    entries.add(number, _values(element))
                    watched.item_ended()
            if not inside and open_elements:
                # Otherwise the whole feed stays in memory.
                open_elements[-1].remove(element)
                elements = 0
    except DefusedXmlException as error:
        raise InvalidInput(
            "The XML declares entities, which can fill the memory or read files. Remove its DOCTYPE.",
            reason="FEED_UNSAFE",
            metadata={"details": type(error).__name__},
        ) from None
    except (ParseError, LookupError, ValueError) as error:
        if not number:
            raise InvalidInput(f"The file is no readable XML: {error}.", reason="FEED_UNREADABLE") from error
        entries.cut_off("XML")
        entries.notes.append(f"the XML cannot be read on: {error}")
    if not number:
        kind = "" if root is None else _local(root.tag)
        raise InvalidInput(
            f'The XML "{kind[:64]}" holds no <item> and no <entry>, as Google Merchant feeds do.',
            reason="FEED_UNREADABLE",
        )
    entries.end()
    return entries


def _values(item: Element) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    own: set[str] = set()
    for child in item:
        if len(child) and not (child.tag.startswith("{") and "Atom" in child.tag):
            # Names and values of parts, such as those of <g:shipping>.
            continue
        name = _local(child.tag)
        text = "".join(child.itertext())[:_MAX_TEXT].strip()
        if name == "link" and not text:
            text = child.get("href", "")
            if child.get("rel", "alternate") != "alternate":
                continue
        google = "base.google.com" in child.tag
        if not text or (name in own and not google):
            continue
        if google and name not in own:
            # Of <title> and <g:title>, Google's counts.
            values[name] = [text]
            own.add(name)
        elif google:
            values[name].append(text.replace(",", "%2C"))
        else:
            values.setdefault(name, [text])
    return {name: ",".join(texts) for name, texts in values.items()}


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2] if isinstance(tag, str) else ""


def json_records(file: IO[bytes]) -> Entries:
    """Reads JSON Lines, or a list of objects, at the top or under one name; a place is a line, or an item of the list.

    Lines are read one by one; a document in one piece takes memory.

    Raises:
        InvalidInput: FEED_UNREADABLE, no object can be read; DATASET_FILE_TOO_LARGE.
    """
    text, whole = "", None
    if not _is_lines(file):
        text = _document(file)
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            whole = None
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        whole = max(lists, key=len, default=[whole])
    entries = Entries("line" if whole is None else "item")
    if isinstance(whole, list):
        for number, value in enumerate(whole, 1):
            _add_object(entries, number, value)
    elif text.lstrip().startswith("["):
        _read_cut_list(entries, text)
    else:
        file.seek(0)
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
        try:
            for number, (line, is_last) in enumerate(_with_last(_lines_of(lines)), 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    if is_last:
                        entries.cut_off("JSON")
                    value = f"{error}"
                _add_object(entries, number, value)
        finally:
            # Otherwise the file is closed with it.
            lines.detach()
    entries.end()
    if not entries.header:
        raise InvalidInput("The file holds no JSON object that can be read.", reason="FEED_UNREADABLE")
    return entries


def _is_lines(file: IO[bytes]) -> bool:
    """Tells whether a file begins with an object on one line, and goes on behind it."""
    file.seek(0)
    first, more = "", ""
    line = b"\n"
    while not first and (line := file.readline(MAX_LINE_BYTES)):
        first = line.decode("utf-8-sig", errors="replace").strip()
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_LINE_BYTES)
    while not more and (line := file.readline(MAX_LINE_BYTES)):
        more = line.decode("utf-8", errors="replace").strip()
    return first.startswith("{") and first != "{" and bool(more)


def _document(file: IO[bytes]) -> str:
    """Returns a file as text."""
    file.seek(0)
    content = file.read(_MAX_DOCUMENT_BYTES + 1)
    if len(content) > _MAX_DOCUMENT_BYTES:
        raise InvalidInput(
            f"The document of JSON has more than {_MAX_DOCUMENT_BYTES:,} bytes, the most that is read in one piece. "
            "Write an object a line (JSON Lines).",
            reason="DATASET_FILE_TOO_LARGE",
        )
    require_few("values", sum(map(content.count, b",[{")), MAX_VALUES)
    return content.decode("utf-8-sig", errors="replace")


def _lines_of(file: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(
                f"Line {number:,} has more than {MAX_LINE_BYTES:,} characters, the most that is read.",
                reason="DATASET_FILE_TOO_LARGE",
            )
        yield line


def _with_last(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yields lines, and whether each is the last."""
    held: str | None = None
    for line in lines:
        if held is not None:
            yield held, False
        held = line
    if held is not None:
        yield held, True


def _read_cut_list(entries: Entries, text: str) -> None:
    """Reads a list of JSON without its end, object by object."""
    entries.place = "item"
    decoder, at, number = json.JSONDecoder(), text.index("[") + 1, 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        number += 1
        _add_object(entries, number, value)
    entries.cut_off("JSON")


def _add_object(entries: Entries, number: int, value: Any) -> None:
    try:
        if isinstance(value, dict):
            entries.add(number, {_sound(name): _sound(text) for name, text in _flat(value)})
        else:
            entries.add(number, {}, (f"no JSON object: {_sound(str(value)[:200])}",))
    except RecursionError:
        entries.add(number, {}, ("a JSON object that is nested too deep",))


def _sound(text: str) -> str:
    """Returns a text without halves of characters, which JSON can spell and no text can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def parquet_records(file: IO[bytes]) -> Entries:
    """Reads a table in Parquet; a place is the number of a row. Fields of structures are columns as "price.amount".

    Raises:
        InvalidInput: EXTRA_MISSING, FEED_UNREADABLE.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InvalidInput(
            "Parquet needs pyarrow. Install it with `pip install fashion-recommender[parquet]`.", reason="EXTRA_MISSING"
        ) from None
    entries, number = Entries("row"), 0
    try:
        file.seek(0)
        # With a buffer, columns are read page by page instead of whole.
        table = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES)
        for batch in table.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                entries.add(number, dict(_flat(row)))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"The file is no readable Parquet: {why.rstrip('.')}.", reason="FEED_UNREADABLE") from error
    entries.end()
    entries.header = entries.header or tuple(table.schema_arrow.names)
    return entries


def _flat(row: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yields names and values of an object, with those of its objects; its first names count."""
    for name, value in row.items():
        if name == WHOLE and isinstance(value, Mapping) and not before:
            # In one piece, which keeps what is a number and what a text.
            yield name, json.dumps(value, ensure_ascii=False, default=str)
        elif isinstance(value, Mapping) and depth < 4:
            yield from _flat(value, f"{before}{name}.", depth + 1)
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value) and depth < 4:
            yield from _flat(_joined(value), f"{before}{name}.", depth + 1)
        else:
            yield f"{before}{name}", _text(value)


def _joined(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the first of several objects, such as pictures, with the addresses of all."""
    first = dict(objects[0])
    for name, value in first.items():
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            others = [each[name] for each in objects if isinstance(each.get(name), str)]
            first[name] = ",".join(each.replace(",", "%2C") for each in others)
    return first


def _text(value: Any) -> str:
    """Returns a value as a table would show it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if math.isnan(value):
            return ""
        case float() if value.is_integer():
            return f"{value:.0f}"
        case float() | Decimal():
            text = f"{value:f}" if isinstance(value, Decimal) else f"{Decimal(repr(value)):f}"
            # A number of a program parts no thousands: "1.299" would look as if.
            return f"{text}0" if len(text.rpartition(".")[2]) == 3 else text
        case bytes():
            return value.decode("utf-8", errors="replace")
        case list() | tuple():
            return ", ".join(_text(each) for each in value if each is not None)
    return str(value)
