"""The output of the command line: consoles, tables, errors in one line, exit codes, JSON."""

import codecs
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.contract.errors import DeadlineExceeded, FashionError, InvalidInput, NotFound, Overloaded, Unavailable

MAX_WIDTH = 100
# More than any product needs.
_ENDLESS = 10_000
_MAX_ID_WIDTH = 20

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_NOT_FOUND = 3
EXIT_UNAVAILABLE = 4
EXIT_INTERRUPTED = 130

if TYPE_CHECKING:
    from google.protobuf.message import Message

_NO_BUNDLE = "BUNDLE_NOT_FOUND"
# In the metadata of an error: the option by which a person named what is missing.
_NAMED_BY = "named_by"
# What a person at the command line can do; the error cannot know who reads it.
_HINTS = {
    "SEARCH_UNAVAILABLE": "Start it with `{fashion} serve`, or name another server with --server; where it speaks TLS, "
    "set CLIENT_TLS_CA_FILE.",
    _NO_BUNDLE: "Name the folder of a model with EMBEDDER_BUNDLE, or run this in the folder of the project.",
}


def console(*, uncut: bool = False) -> Console:
    """Returns standard output, for results, at most 100 columns wide.

    Args:
        uncut: whether lines have no end where programs read them.
    """
    if uncut and not sys.stdout.isatty():
        return Console(width=_ENDLESS, highlight=False)
    return _console(stderr=False)


def errors() -> Console:
    """Returns standard error, for progress, hints and errors, at most 100 columns wide."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    probe = Console(stderr=stderr)
    # Rich assumes 80 columns for a pipe; a wide terminal is likelier to show it in the end.
    width = min(probe.width, MAX_WIDTH) if probe.is_terminal or "COLUMNS" in os.environ else MAX_WIDTH
    return Console(stderr=stderr, width=width, highlight=False)


@contextmanager
def status(to: Console, text: str) -> Iterator[None]:
    """Shows what goes on within the context: beside something that turns on a terminal, as a line elsewhere."""
    if to.is_terminal:
        with to.status(text):
            yield
    else:
        to.print(text, markup=False, soft_wrap=True)
        yield


def hint(error: FashionError) -> str:
    """Returns what a person can do about an error, as a sentence; empty where there is nothing to add."""
    if error.reason == _NO_BUNDLE and (named_by := error.metadata.get(_NAMED_BY)):
        return f"Name the folder of a bundle with {named_by}."
    return _HINTS.get(error.reason, "").format(fashion=command_name())


@contextmanager
def bundle_named_by(option: str) -> Iterator[None]:
    """Where a bundle is missing within it, the hint names the option that a person has named the bundle with.

    Args:
        option: such as "--bundle".
    """
    try:
        yield
    except NotFound as error:
        if error.reason != _NO_BUNDLE:
            raise
        raise NotFound(error.message, reason=error.reason, metadata={**error.metadata, _NAMED_BY: option}) from error


def command_name() -> str:
    """Returns the name that started this program, such as ".venv/bin/fashion", for suggestions to type."""
    called = Path(sys.argv[0])
    on_path = shutil.which("fashion")
    if called.name != "fashion" or (on_path is not None and Path(on_path).resolve() == called.resolve()):
        return "fashion"
    return str(called)


def exit_code(error: FashionError) -> int:
    """Returns the exit code for a category of errors."""
    match error:
        case InvalidInput():
            return EXIT_BAD_INPUT
        case NotFound():
            return EXIT_NOT_FOUND
        case Unavailable() | Overloaded() | DeadlineExceeded():
            return EXIT_UNAVAILABLE
        case _:
            return EXIT_ERROR


def print_error(message: str, reason: str | None = None) -> None:
    """Prints an error in one line."""
    line = Text("error: ", style="bold red")
    line.append(" ".join(message.split()), style="default")
    if reason:
        line.append(f" ({reason})", style="dim")
    errors().print(line, soft_wrap=True)


def print_json(document: object) -> None:
    """Prints a JSON document on standard output, for programs: valid UTF-8, whatever the encoding of the stream."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    try:
        plain = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8" or not text.encode()
    except UnicodeEncodeError:
        # Half a character, such as in the name of a file that is not UTF-8.
        plain = True
    sys.stdout.write((json.dumps(document, indent=2) if plain else text) + "\n")


def print_document(document: object) -> None:
    """Prints a long document as `print_json` does, part by part; data classes become objects."""
    from offline.report.document import document_parts

    plain = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    for part in document_parts(document, only_ascii=plain):
        sys.stdout.write(part)
    sys.stdout.write("\n")


def message_document(message: "Message") -> dict[str, Any]:
    """Returns a message as proto3 JSON with the protos' field names, but with 64-bit integers as numbers.

    An optional field without a value is absent; lists and plain values are always there.
    """
    # Only JSON needs it, and it takes long to import.
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _unquote_integers(message, document)
    return document


def _unquote_integers(message: "Message", document: dict[str, Any]) -> None:
    from google.protobuf.descriptor import FieldDescriptor

    for field in message.DESCRIPTOR.fields:
        if field.name not in document:
            continue
        value = getattr(message, field.name)
        shown = document[field.name]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            parts = [(value[key], its_document) for key, its_document in shown.items()]
        else:
            parts = list(zip(value, shown, strict=True)) if isinstance(shown, list) else [(value, shown)]
        if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
            numbers = [int(text) for _, text in parts]
            document[field.name] = numbers if isinstance(shown, list) else numbers[0]
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for part, its_document in parts:
                if isinstance(its_document, dict):
                    _unquote_integers(part, its_document)


def counted(count: int, name: str) -> str:
    """Returns a count with its name, such as "1,204 rows"; of one, the plural loses its "s"."""
    return f"{count:,} {name if count != 1 else name.removesuffix('s')}"


def id_column(ids: Sequence[str]) -> dict[str, Any]:
    """Returns Rich's options for a column of ids: none is cut, and long ones are folded where lines end."""
    width = min(max(map(len, ids), default=0), _MAX_ID_WIDTH)
    return {"min_width": width, "no_wrap": False, "overflow": "fold"}


def plain_table(columns: Sequence[tuple[str, dict[str, Any]]], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Returns a table without lines; a column is its heading and Rich's options for it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    for heading, options in columns:
        table.add_column(heading, **{"no_wrap": True, "overflow": "ellipsis", **options})
    for row in rows:
        # Text gives no meaning to the brackets of a product's name.
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table
