"""`fashion catalogue update`: tables and lines of changes, counted, with each row that was not taken."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from fashion.v1 import search_pb2, types_pb2
from services.clients.search import SearchClient
from services.contract.errors import Unavailable
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import items, rows

FIRST, SECOND, THIRD = (item.id for item in items()[:3])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Caller]]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        yield stack.target, caller


def _product(caller: Caller, product_id: str) -> types_pb2.Product:
    return caller.search.GetProduct(search_pb2.GetProductRequest(product_id=product_id), timeout=20).product


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_changes_what_it_has_cells_for(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str], delimiter: str
) -> None:
    target, caller = shop
    table = tmp_path / "prices.csv"
    lines = ["id,price,in_stock", f"{FIRST},19.99 EUR,no", f"{SECOND},,yes", "nobody,5.00 EUR,", f"{THIRD},cheap,yes"]
    table.write_text("\ufeff" + "\n".join(lines).replace(",", delimiter), encoding="utf-8")
    code = run(["catalogue", "update", str(table), "--server", target, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["updated"] + document["unchanged"] == 2
    assert [(each["line"], each["product_id"], each["reason"]) for each in document["failed"]] == [
        (4, "nobody", "PRODUCT_NOT_FOUND"),
        (5, THIRD, "REQUEST_INVALID"),
    ]
    assert code == 2
    first, second = (_product(caller, each) for each in (FIRST, SECOND))
    assert (first.price.units, first.price.nanos, first.in_stock) == (19, 990_000_000, False)
    assert (second.HasField("price"), second.in_stock, second.year) == (False, True, 2016)


def test_lines_are_merge_patches(shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, caller = shop
    file = tmp_path / "changes.jsonl"
    changes = [{"id": THIRD, "year": None, "attributes": {"material": ["Cotton"]}}, {"id": "nobody", "in_stock": True}]
    file.write_text("\n\n".join(map(json.dumps, changes)))
    assert run(["catalogue", "update", str(file), "--server", target]) == 3
    captured = capsys.readouterr()
    assert "updated 1 · unchanged 0 · failed 1" in captured.out
    assert "line 3: nobody: PRODUCT_NOT_FOUND" in captured.err
    product = _product(caller, THIRD)
    assert not product.HasField("year")
    assert list(product.attributes["material"].labels.values) == ["Cotton"]


def test_what_only_looks_like_the_end_of_a_line_ends_no_row(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, caller = shop
    table, lines = tmp_path / "usages.csv", tmp_path / "usages.jsonl"
    table.write_text(f'id,usage\n{FIRST},"Party\u2028wear"\n', encoding="utf-8")
    lines.write_text(json.dumps({"id": SECOND, "usage": "Party\u2028wear"}, ensure_ascii=False), encoding="utf-8")
    for file, product_id in ((table, FIRST), (lines, SECOND)):
        assert run(["catalogue", "update", str(file), "--server", target]) == 0, capsys.readouterr().err
        assert _product(caller, product_id).usage == "Party\u2028wear"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b'id,usage\n1,"Party\n2,Work\n', "quotes"), ("id,usage\n1,Caf\xe9\n".encode("latin-1"), "UTF-8")],
    ids=["an open quote", "latin-1"],
)
def test_a_table_that_could_be_read_wrongly_changes_nothing(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    table = tmp_path / "usages.csv"
    table.write_bytes(content)
    assert run(["catalogue", "update", str(table), "--server", shop[0]]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_what_happened_is_told_where_a_later_call_fails(
    shop: tuple[str, Caller],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    target, caller = shop
    caller.upsert(rows())
    failing_second(monkeypatch, "update_products", "delete_products")
    table = tmp_path / "usages.csv"
    table.write_text(f"id,usage,year\n{FIRST},Usage {as_json},\n{SECOND},,never\n{THIRD},Work,\n", encoding="utf-8")
    options = ["--server", target, *(["--json"] if as_json else [])]

    assert run(["catalogue", "update", str(table), *options]) == 4
    captured = capsys.readouterr()
    if as_json:
        document = json.loads(captured.out)
        assert (document["updated"], document["unchanged"], document["not_sent"]) == (1, 0, 1)
        assert [each["product_id"] for each in document["failed"]] == [SECOND]
    else:
        assert "updated 1 · unchanged 0 · failed 1 · not sent 1" in captured.out
    assert "Not finished" in captured.err and _product(caller, FIRST).usage == f"Usage {as_json}"

    assert run(["catalogue", "delete", FIRST, SECOND, *options]) == 4
    captured = capsys.readouterr()
    if as_json:
        document = json.loads(captured.out)
        assert (document["deleted"], document["failed"], document["not_sent"]) == ([FIRST], [], 1)
    else:
        assert "Deleted 1 product." in captured.out
    assert "Not finished" in captured.err
    # For the other tests.
    caller.upsert(rows())


def failing_second(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """Has calls of one row, of which the second fails."""

    def second_fails(call: Callable[..., Any]) -> Callable[..., Any]:
        calls = itertools.count(1)

        async def once(client: SearchClient, rows: Sequence[Any]) -> Any:
            if next(calls) == 2:
                raise Unavailable("The server is gone.", reason="SEARCH_UNAVAILABLE")
            return await call(client, rows)

        return once

    for module in ("cli.updates", "cli.deletions"):
        monkeypatch.setattr(f"{module}.MAX_CALL_ROWS", 1)
    for name in methods:
        monkeypatch.setattr(SearchClient, name, second_fails(getattr(SearchClient, name)))


def test_a_table_of_something_else_is_refused(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("sku,price\n1,2\n")
    assert run(["catalogue", "update", str(table), "--server", shop[0]]) == 2
    assert "must name id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("price", "abc", "19.99 EUR"),
        ("price", "-3 EUR", "19.99 EUR"),
        ("price", "5", "19.99 EUR"),
        ("in_stock", "perhaps", "yes or no"),
        ("year", "last", "2016"),
        ("year", "1066", "at least 1900"),
        ("gender", "robots", "Women"),
        ("attributes", "[1]", "{"),
    ],
)
def test_a_cell_that_cannot_be_read_says_what_to_write(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, cell: str, words: str
) -> None:
    table = tmp_path / "changes.csv"
    table.write_text(f"id,{column}\n{FIRST},{cell}\n")
    assert run(["catalogue", "update", str(table), "--server", shop[0], "--json"]) == 2
    (failure,) = json.loads(capsys.readouterr().out)["failed"]
    assert (failure["product_id"], failure["reason"]) == (FIRST, "REQUEST_INVALID")
    assert column in failure["message"] and words in failure["message"] and "nput should" not in failure["message"]


def test_cells_take_the_words_that_feeds_take(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, caller = shop
    table = tmp_path / "changes.csv"
    for flag in ("ja", "nein"):
        table.write_text(f"id;in_stock;year;gender\n{SECOND};{flag};2014;Damen\n")
        assert run(["catalogue", "update", str(table), "--server", target]) == 0, capsys.readouterr().err
        product = _product(caller, SECOND)
        assert (product.in_stock, product.year, product.gender) == (flag == "ja", 2014, types_pb2.GENDER_WOMEN)


@pytest.mark.parametrize(
    ("header", "words"), [("id,colour", '"colour" is no field'), ("id,price,price", '"price" stands more than once')]
)
def test_a_column_that_cannot_be_taken_is_named(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, words: str
) -> None:
    table = tmp_path / "changes.csv"
    table.write_text(f"{header}\n1,2,3\n")
    assert run(["catalogue", "update", str(table), "--server", shop[0]]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_colours_are_spelt_as_an_ingest_spells_them(
    shop: tuple[str, Caller], tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    target, caller = shop
    file = tmp_path / f"changes.{suffix}"
    for written, spelt in (("Blau", "Blue"), ("SCHWARZ / weiß", "Black/White"), ("Zebra", "Zebra")):
        line = json.dumps({"id": FIRST, "base_colour": written})
        file.write_text(line if suffix == "jsonl" else f"id,base_colour\n{FIRST},{written}\n", encoding="utf-8")
        assert run(["catalogue", "update", str(file), "--server", target]) == 0, capsys.readouterr().err
        assert _product(caller, FIRST).base_colour == spelt
