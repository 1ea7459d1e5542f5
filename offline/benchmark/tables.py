"""Tables of growing size through `fashion ingest`: its memory must not grow, and each row has an outcome by name."""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final
from xml.sax.saxutils import escape

import grpc
from PIL import Image

from offline.benchmark.processes import free_port

# One row in so many has no category, the id of the row before, or a price that is none.
_WITHOUT_CATEGORY, _TWICE, _ODD_PRICE = 101, 103, 53
_PHOTOGRAPH: Final = "shirt.jpg"
_COLOURS: Final = ("navy", "red", "green", "white", "black", "yellow", "brown")
_COLUMNS: Final = ("id", "title", "product_type", "gender", "color", "price", "image_link", "item_group_id")

Row = Mapping[str, str]


def rows(count: int) -> Iterator[Row]:
    """Yields the rows of a table."""
    for number in range(count):
        yield {
            "id": f"P{number - 1 if _is_twice(number) else number:07d}",
            "title": f"Number {number} of a brand with a long name, made in {number % 1979} pieces",
            "product_type": "" if _is_without_category(number) else "Apparel > Tops > Shirts",
            "gender": ("female", "male", "unisex")[number % 3],
            "color": _COLOURS[number % len(_COLOURS)],
            "price": "on request" if number % _ODD_PRICE == 0 else f"{number % 200},99 EUR",
            "image_link": _PHOTOGRAPH,
            "item_group_id": f"G{number // 4}",
        }


def _is_without_category(number: int) -> bool:
    return number % _WITHOUT_CATEGORY == 7


def _is_twice(number: int) -> bool:
    # Of a row that was dropped itself the id is free.
    return number % _TWICE == 11 and not _is_without_category(number - 1) and not _is_without_category(number)


def dropped_places(count: int) -> list[int]:
    """Returns the places of the rows that cannot become products, from 0."""
    return [number for number in range(count) if _is_without_category(number) or _is_twice(number)]


def _write_csv(file: IO[str], count: int) -> None:
    writer = csv.DictWriter(file, _COLUMNS)
    writer.writeheader()
    writer.writerows(rows(count))


def _write_lines(file: IO[str], count: int) -> None:
    file.writelines(json.dumps(row) + "\n" for row in rows(count))


def _write_xml(file: IO[str], count: int) -> None:
    file.write('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
    for row in rows(count):
        cells = (f"<g:{name}>{escape(cell)}</g:{name}>" for name, cell in row.items())
        file.write(f"<item>{''.join(cells)}</item>\n")
    file.write("</channel></rss>\n")


# Name of a kind of table -> what writes it, and the place of its first row.
KINDS: Final[Mapping[str, tuple[Callable[[IO[str], int], None], int]]] = {
    "csv": (_write_csv, 2),
    "jsonl": (_write_lines, 1),
    "xml": (_write_xml, 1),
}


@contextmanager
def running_sink(log: Path) -> Iterator[str]:
    """Runs a search service that keeps nothing, and yields its address."""
    port = free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "offline.benchmark.sink", str(port)], stdout=output, stderr=output
        )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(20)


def ingest_table(kind: str, count: int, server: str, folder: Path) -> dict[str, Any]:
    """Ingests a table in a process of its own.

    Args:
        kind: one of `KINDS`.
        count: the number of rows.
        server: the address of the search service.
        folder: takes the table and the report.

    Returns:
        "rows", "mib", the most memory that the process held, "seconds", "megabytes" of the table, and "problems", the
        rows without their outcome.
    """
    write, first = KINDS[kind]
    table, report = folder / f"table.{kind}", folder / "report.json"
    with table.open("w", encoding="utf-8", newline="") as file:
        write(file, count)
    picture = io.BytesIO()
    Image.new("RGB", (60, 80), (200, 60, 60)).save(picture, "JPEG")
    (folder / _PHOTOGRAPH).write_bytes(picture.getvalue())
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "ingest", str(table), "--server", server, "--report", str(report)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    spent = time.monotonic() - began
    megabytes = table.stat().st_size / 1e6
    table.unlink()
    problems = [f"the command ended with {process.returncode}"] if process.returncode else []
    if not problems:
        problems = _problems(json.loads(report.read_bytes()), count, first)
        report.unlink()
    return {
        "kind": kind,
        "rows": count,
        "mib": used.ru_maxrss / 1024,
        "seconds": spent,
        "processor_s": used.ru_utime + used.ru_stime,
        "megabytes": megabytes,
        "problems": problems,
    }


def _problems(report: Mapping[str, Any], count: int, first: int) -> list[str]:
    """Returns what a report does not say as it is."""
    read, expected = report["dataset"], [place + first for place in dropped_places(count)]
    named = [each["line"] for each in read["findings"] if each["kind"] == "dropped"]
    problems = []
    if named != expected:
        problems.append(f"{len(named):,} dropped rows are named, {len(expected):,} cannot become products")
    if (read["rows_read"], read["rows_kept"], report["created"]) != (count, count - len(expected), read["rows_kept"]):
        problems.append(
            f"of {count:,} rows {read['rows_read']:,} are read, {read['rows_kept']:,} kept, {report['created']:,} sent"
        )
    return problems


def measure_tables(counts: Sequence[int], kinds: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Ingests tables of several sizes and kinds, and says how much memory the command takes.

    Args:
        counts: numbers of rows, ascending.
        kinds: of `KINDS`.
        say: shows each figure.

    Returns:
        "tables", what `ingest_table` returns of each, and "problems".
    """
    tables = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_sink(folder / "sink.log") as server:
            for kind in kinds:
                for count in counts:
                    figures = ingest_table(kind, count, server, folder)
                    tables.append(figures)
                    say(
                        f"  {kind}, {count:,} rows, {figures['megabytes']:.0f} MB: {figures['mib']:.0f} MiB, "
                        f"{figures['seconds']:.0f} s"
                    )
    return {"tables": tables, "problems": [each for table in tables for each in table["problems"]]}
