"""`fashion export` against a running stack: the lists of FindSimilar, and a catalogue that comes in again the same."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from cli.main import run
from fashion.v1 import search_pb2, types_pb2
from tests.support import small_shop
from tests.support.running import Caller, calling, stack_in_thread, stack_settings

PRICE = types_pb2.Price(currency_code="EUR", units=19, nanos=990_000_001)
FULL = types_pb2.Product(
    id="0042/no-file",
    gender=types_pb2.GENDER_WOMEN,
    sub_category="Dress",
    article_type="Dresses",
)


def _rows() -> list[search_pb2.ProductRow]:
    """The small shop with variants, some out of stock, two with one photograph, and every attribute on one."""
    rows = list(small_shop.rows())
    for number, row in enumerate(rows):
        row.product.master_category = "Apparel"
        if number % 4 == 1:
            row.product.parent_id = rows[number - 1].product.id
        if number % 5 == 2:
            row.product.in_stock = False
    first = rows[0].product
    first.brand, first.season, first.usage = 'Ol, "d"', "Summer", "Casual"
    first.name = "Naïve; tee, 50 %"
    first.url, first.image_url = "https://shop.example/p?a=1,2", "https://shop.example/1.jpg"
    first.price.CopyFrom(PRICE)
    first.in_stock = True
    first.attributes["material"].labels.values.extend(['Cotton, "organic"', "Elastane"])
    first.attributes["größe"].labels.values.append("38")
    first.attributes["heel_mm"].number = 0.1
    first.attributes["organic"].flag = False
    twin = search_pb2.ProductRow(product=rows[3].product, image=rows[3].image)
    twin.product.id = "007-twin"
    twin.product.ClearField("parent_id")
    return [*rows, twin]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caller, str]]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as caller:
        assert not any(each.status.code for each in caller.upsert(_rows()).results)
        yield caller, stack.target


def _expected(caller: Caller, top: int) -> list[tuple[str, int, str, float]]:
    rows = []
    for product_id in sorted(row.product.id for row in _rows()):
        for rank, each in enumerate(caller.find(product_id=product_id, top_k=top).products, start=1):
            rows.append((product_id, rank, each.product.id, each.similarity))
    return rows


@pytest.mark.parametrize("top", [1, 7, 100])
def test_every_format_holds_the_answers_of_find_similar(shop: tuple[Caller, str], tmp_path: Path, top: int) -> None:
    caller, server = shop
    files = {form: tmp_path / f"similar.{form}" for form in ("csv", "jsonl", "parquet")}
    for file in files.values():
        assert run(["export", "similar", str(file), "--top", str(top), "--server", server]) == 0
    expected = _expected(caller, top)
    assert len(expected) > top
    with files["csv"].open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    assert header == ["product_id", "rank", "similar_product_id", "similarity"]
    assert [(a, int(b), c) for a, b, c, _ in rows] == [row[:3] for row in expected]
    assert [float(row[3]) for row in rows] == pytest.approx([row[3] for row in expected], abs=1e-7)
    lines = [json.loads(line) for line in files["jsonl"].read_text(encoding="utf-8").splitlines()]
    pairs = [
        (line["product_id"], rank, each["product_id"], each["similarity"])
        for line in lines
        for rank, each in enumerate(line["similar"], start=1)
    ]
    assert pairs == [(a, int(b), c, float(d)) for a, b, c, d in rows]
    assert [line["product_id"] for line in lines] == sorted(row.product.id for row in _rows())
    columns = parquet.read_table(files["parquet"]).to_pydict()
    assert list(zip(*columns.values(), strict=True)) == expected
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(file.name for file in files.values())


@pytest.mark.parametrize(
    "options",
    [
        ["--designs", "--boost", "1.5 words=red", "--diversity", "0.4"],
        ["--designs", "--top", "100"],
        ["--boost", "0.5 base_colour=red", "--boost", "1.3 brand=Nobody", "-k", "3"],
        ["--diversity", "0.9", "--min-similarity", "0.3", "--include-out-of-stock"],
        ["--colour-family", "blue", "--gender", "men", "--variants"],
        ["--scope", "predicted-type", "--user", "ada", "--require-preferences"],
        ["--derived-type", "men tshirts", "--not-colour", "red"],
        ["--liked", "women-dresses-red-0", "--disliked", "men-tshirts-black-0"],
        ["--price", "..20 EUR"],
        ["--attribute", "organic:false", "--words", "naive"],
    ],
    ids=" ".join,
)
def test_every_option_of_a_search_gives_the_same_lists(
    shop: tuple[Caller, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    caller, server = shop
    options = [each.replace("Nobody", 'Ol, "d"') for each in options]
    caller.dislike("ada", "Red")
    file = tmp_path / "similar.jsonl"
    assert run(["export", "similar", str(file), *options, "--server", server]) == 0
    top = [] if {"--top", "-k"} & {*options} else ["--top-k", "20"]
    lists = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [each["product_id"] for each in lists] == sorted(row.product.id for row in _rows())
    capsys.readouterr()
    liked = {"women-dresses-red-0", "men-tshirts-black-0"} & {*options}
    lengths = set()
    for each in [one for one in lists if one["product_id"] not in liked][::5]:
        assert run(["search", "--product-id", each["product_id"], *options, *top, "--server", server, "--json"]) == 0
        answer = [
            {"product_id": hit["product"]["id"], **{name: hit[name] for name in hit if name != "product"}}
            for hit in json.loads(capsys.readouterr().out)["products"]
        ]
        assert [each["product_id"] for each in each["similar"]] == [hit["product_id"] for hit in answer]
        assert [each["similarity"] for each in each["similar"]] == pytest.approx([hit["similarity"] for hit in answer])
        assert [each.get("rank_score") for each in each["similar"]] == [hit.get("rank_score") for hit in answer]
        lengths.add(len(answer))
    assert max(lengths) > 0


def test_the_rank_score_is_a_column_of_lists_with_boosts(shop: tuple[Caller, str], tmp_path: Path) -> None:
    _, server = shop
    csv_file, parquet_file = tmp_path / "similar.csv", tmp_path / "similar.parquet"
    for file in (csv_file, parquet_file):
        assert run(["export", "similar", str(file), "--boost", "1.5 words=red", "--server", server]) == 0
    columns = parquet.read_table(parquet_file).to_pydict()
    assert list(columns) == ["product_id", "rank", "similar_product_id", "similarity", "rank_score"]
    with csv_file.open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    assert header == list(columns)
    assert [float(row[4]) for row in rows] == columns["rank_score"]
    assert columns["rank_score"] != pytest.approx(columns["similarity"])


@pytest.mark.parametrize(
    "options", [["--designs", "--variants"], ["--boost", "2"], ["--colour", "Bleu"], ["-k", "101"]]
)
def test_an_export_refuses_what_a_search_refuses(
    shop: tuple[Caller, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    _, server = shop
    file, product_id = tmp_path / "similar.csv", _rows()[0].product.id
    assert run(["export", "similar", str(file), *options, "--server", server]) == 2
    refusal = capsys.readouterr().err
    assert run(["search", "--product-id", product_id, *options, "--server", server]) == 2
    assert capsys.readouterr().err == refusal != ""
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_the_file_before(tmp_path: Path) -> None:
    file = tmp_path / "similar.csv"
    file.write_text("yesterday")
    assert run(["export", "similar", str(file), "--server", "localhost:1"]) == 4
    assert file.read_text() == "yesterday"
    assert list(tmp_path.iterdir()) == [file]


def test_an_exported_catalogue_comes_in_again_the_same(
    shop: tuple[Caller, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caller, server = shop
    folder = tmp_path / "export"
    for _ in range(2):
        assert run(["export", "catalogue", str(folder), "--server", server, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["products"], document["photographs"]) == (len(_rows()), len(_rows()))
        assert document["left_out"] == []
    with stack_in_thread(stack_settings(tmp_path / "new")) as stack, calling(stack.target) as other:
        assert run(["ingest", str(folder), "--server", stack.target]) == 0
        for row in _rows():
            product_id = row.product.id
            product, photograph = (
                search_pb2.GetProductRequest(product_id=product_id),
                search_pb2.GetPhotographRequest(product_id=product_id),
            )
            assert other.search.GetProduct(product) == caller.search.GetProduct(product)
            assert other.search.GetPhotograph(photograph) == caller.search.GetPhotograph(photograph)


def test_products_that_will_not_come_in_again_are_named(
    shop: tuple[Caller, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caller, server = shop
    embedding = caller.search.GetProduct(
        search_pb2.GetProductRequest(product_id=_rows()[0].product.id, include_embedding=True)
    ).embedding
    bare = types_pb2.Product(
        id="bare",
        gender=types_pb2.GENDER_MEN,
        sub_category="Topwear",
        article_type="Tshirts",
        master_category="Apparel",
    )
    photographed = search_pb2.ProductRow(product=FULL, image=_rows()[0].image)
    photographed.product.master_category = "Apparel"
    caller.upsert([search_pb2.ProductRow(product=bare, embedding=embedding), photographed])
    try:
        assert run(["export", "catalogue", str(tmp_path / "export"), "--server", server, "--json"]) == 0
        left_out = {each["product_id"]: each["why"] for each in json.loads(capsys.readouterr().out)["left_out"]}
        assert left_out == {"bare": "it has no photograph", FULL.id: "its id cannot be the name of a file"}
    finally:
        caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=["bare", FULL.id]))
