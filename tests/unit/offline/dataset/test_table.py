"""Delimited text as programs write it: encodings, delimiters, line ends, quotes, and what is odd about them."""

import codecs
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.dataset.table import DELIMITERS, Record, Table

HEADER = ("id", "colour", "name", "note", "text")
MARKS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE, "utf-8": codecs.BOM_UTF8}


def table_of(content: bytes, columns: tuple[str, ...] = ()) -> Table:
    return Table(io.BytesIO(content), columns)


def read(content: str | bytes, columns: tuple[str, ...] = HEADER) -> list[Record]:
    return list(table_of(content.encode() if isinstance(content, str) else content, columns))


def cells(content: str | bytes, columns: tuple[str, ...] = HEADER) -> list[list[str]]:
    return [list(record.cells) for record in read(content, columns)]


# A lone carriage return becomes another control character; lone surrogates are no text.
_LETTERS = st.characters(exclude_characters="\r", exclude_categories=("Cs",))
_CELLS = st.text(_LETTERS, max_size=12) | st.sampled_from(["", '"', '""', "a,b;c\td|e", 'say "hi"', "\u2028", "\x85"])
_BROKEN = st.lists(st.sampled_from(["<ul>", '<li class="x">', "", "é", "\x0c"]), min_size=2, max_size=40)
_ROWS = st.lists(st.tuples(*[_CELLS | _BROKEN.map("\n".join)] * len(HEADER)), max_size=6)


@given(
    rows=_ROWS,
    delimiter=st.sampled_from(list(DELIMITERS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
)
def test_what_a_program_writes_is_read_as_it_was(
    rows: list[tuple[str, ...]], delimiter: str, quoting: int, end: str, encoding: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([HEADER, *rows])
    table = table_of(text.getvalue().encode(encoding), HEADER)
    records = list(table)
    assert (table.header, table.delimiter) == (HEADER, delimiter)
    assert [tuple(record.cells) for record in records] == rows
    assert all(record.repairs == () for record in records)


@given(st.binary(max_size=300), st.sampled_from([b"", *MARKS.values(), b"id,colour,name,note,text\n"]))
def test_no_bytes_are_refused(content: bytes, start: bytes) -> None:
    assert len(read(start + content)) <= len(content) + 1


@given(st.integers(0, 9), st.integers(0, 40))
def test_a_stray_quote_costs_at_most_its_own_row(row: int, place: int) -> None:
    lines = [
        f'{number},Blue,"Shirt, {number}",,"two\nlines"' if number % 3 else f"{number},Red,Shirt,,."
        for number in range(10)
    ]
    odd = list(lines)
    odd[row] = odd[row][:place] + '"' + odd[row][place:]
    text = "\n".join([",".join(HEADER), *odd])
    whole = [each for number, each in enumerate(cells("\n".join([",".join(HEADER), *lines]))) if number != row]
    assert [each for each in whole if each not in cells(text)] == []


def test_a_quote_that_ties_rows_together_is_a_character() -> None:
    rows = [f"{number},Blue,Shirt,,plain" for number in range(500)]
    rows[100] = '100,Blue,Shirt,,"15 inch'
    rows[400] = '400,Blue,Shirt,,15"'
    records = read("\n".join([",".join(HEADER), *rows]))
    assert len(records) == 500
    assert records[100].cells[-1] == '"15 inch'
    assert [record.line for record in records if record.repairs] == [102]


def test_a_cell_may_have_thousands_of_lines_and_a_megabyte() -> None:
    text = "\n".join(["<li>soft, washable</li>"] * 5000) + "x" * 1_000_000
    records = read(f'{",".join(HEADER)}\n1,Blue,Shirt,,"{text}"\n2,Red,Shirt,,\n')
    assert [record.cells[0] for record in records] == ["1", "2"]
    assert records[0].cells[-1] == text
    assert [record.line for record in records] == [2, 5002]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('1,Blue,"He said \\"hi, there\\"",,', ["1", "Blue", 'He said "hi, there"', "", ""]),
        ('1,Blue,"Vintage" 501 jeans,,', ["1", "Blue", "Vintage 501 jeans", "", ""]),
        ('"1","Blue","5 inch","","open', ["1", "Blue", "5 inch", "", "open"]),
        ('1,Blue,"C:\\",,', ["1", "Blue", "C:\\", "", ""]),
        ('1,Blue,3.5" heel,,', ["1", "Blue", '3.5" heel', "", ""]),
    ],
)
def test_odd_quotes(line: str, expected: list[str]) -> None:
    assert cells(f"{','.join(HEADER)}\n{line}\n2,Red,,,\n") == [expected, ["2", "Red", "", "", ""]]


def test_lines_that_are_not_utf8_are_read_by_cp1252_each() -> None:
    lines = [",".join(HEADER).encode(), "1,Rosé,“Café”,,".encode("cp1252"), "2,Grün,Ω,,".encode(), b"3,\x81,,,"]
    table = table_of(b"\n".join(lines), HEADER)
    records = list(table)
    assert [list(record.cells[:3]) for record in records] == [
        ["1", "Rosé", "“Café”"],
        ["2", "Grün", "Ω"],
        ["3", "\ufffd", ""],
    ]
    assert ["cp1252" in "".join(record.repairs) for record in records] == [True, False, True]
    assert table.lines_by_fallback == 2


def test_line_ends_of_old_macs_and_lone_returns() -> None:
    assert cells("id,colour,name,note,text\r1,Blue,Shirt,,\r") == [["1", "Blue", "Shirt", "", ""]]
    assert cells("id,colour,name,note,text\r\n1,Blue,Sh\rirt,,\r\n") == [["1", "Blue", "Sh\x0birt", "", ""]]


def test_excel_may_name_the_delimiter_in_the_first_line() -> None:
    assert cells("sep=;\nid;colour, dark\n1;Blue\n") == [["1", "Blue"]]


def test_the_delimiter_is_the_one_that_gives_the_known_columns() -> None:
    table = table_of(b"id;colour;name (a, b, c, d, e)\n1;Blue;x\n", HEADER)
    assert table.delimiter == ";"
    assert table.positions(HEADER) == {"id": 0, "colour": 1}


def test_columns_are_found_letter_case_aside_and_the_first_of_two() -> None:
    assert table_of(b"ID,Name,name,NAME\n").positions(("id", "name")) == {"id": 0, "name": 2}


def test_an_empty_table_has_no_header() -> None:
    table = table_of(b"\xef\xbb\xbf\n \n")
    assert (table.header, list(table)) == ((), [])
