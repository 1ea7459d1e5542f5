"""Further photographs of products in feeds of every layout: all of them, in their order, each once."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from offline.dataset.rows import Dataset
from offline.feeds.draft import draft
from offline.feeds.feed import read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from offline.feeds.products import open_source
from services.contract.errors import NotFound
from tests.support.feeds import EURO, RSS, item, reasons, written

WEB = "https://shop.example/"
URLS = [f"{WEB}{number}.jpg" for number in range(12)]
TABLE = {"sku": "007", "title": "Men's tee", "category": "T-Shirts", "image_link": URLS[0]}


def named(dataset: Dataset, product_id: str = "007") -> list[str]:
    return [dataset.photograph_name(product_id), *dataset.further_names(product_id)]


def csv(**columns: str) -> str:
    cells = TABLE | columns
    return ",".join(cells) + "\n" + ",".join(f'"{text}"' for text in cells.values()) + "\n"


def test_google_xml_repeats_the_element(tmp_path: Path) -> None:
    further = "".join(f"<g:additional_image_link>{url}</g:additional_image_link>" for url in URLS[1:4])
    feed = item(image_link=URLS[0]).replace("</item>", f"{further}</item>")
    dataset = open_source(written(tmp_path / "feed.xml", RSS.format(feed)), mapping=EURO)
    assert named(dataset) == URLS[:4]
    assert dataset.has_further


def test_google_tables_part_them_by_commas(tmp_path: Path) -> None:
    with_comma = f"{WEB}a,b.jpg"
    columns = ["id", "title", "image_link", "additional_image_link", "availability", "product_type"]
    cells = ["007", "Tee", URLS[0], f"{URLS[1]},{with_comma},{URLS[2]},{URLS[0]}", "in_stock", "T-Shirts"]
    text = "\t".join(columns) + "\n" + "\t".join(cells) + "\n"
    dataset = open_source(written(tmp_path / "feed.tsv", text), mapping=EURO)
    # The first one is listed again.
    assert named(dataset) == [URLS[0], URLS[1], with_comma, URLS[2]]


@pytest.mark.parametrize(
    "columns",
    [
        {"images": f"{URLS[0]}, {URLS[1]} | {URLS[2]}"},
        {"image_2": URLS[1], "Image 3": URLS[2]},
        {"additional_image_1": URLS[1], "additional_image_2": URLS[2]},
        {"additional_images": f"{URLS[1]};{URLS[2]}", "thumbnail": URLS[9]},
        {"image_link": f"{URLS[0]} {URLS[1]} {URLS[2]}"},
    ],
)
def test_tables_name_them_in_one_column_or_several(tmp_path: Path, columns: dict[str, str]) -> None:
    assert named(open_source(written(tmp_path / "feed.csv", csv(**columns)), mapping=EURO)) == URLS[:3]


def test_json_and_parquet_hold_lists(tmp_path: Path) -> None:
    products = [
        {**TABLE, "images": URLS[:3]},
        {**TABLE, "sku": "008", "images": [{"src": url, "alt": f"a picture {url}"} for url in URLS[3:6]]},
    ]
    del products[1]["image_link"]
    path = written(tmp_path / "feed.jsonl", "\n".join(map(json.dumps, products)))
    dataset = open_source(path, mapping=EURO)
    assert named(dataset) == URLS[:3]
    assert named(dataset, "008") == URLS[3:6]
    table = pyarrow.table({name: [value] for name, value in products[0].items()})
    parquet.write_table(table, tmp_path / "feed.parquet")
    assert named(open_source(tmp_path / "feed.parquet", mapping=EURO)) == URLS[:3]


def test_shopify_has_a_row_for_each(tmp_path: Path) -> None:
    header = (
        "Handle,Title,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Image Position,Variant Image"
    )
    rows = [
        f"tee,Men's tee,T-Shirts,Size,M,T-M,19.99,{URLS[1]},2,",
        f"tee,,,,L,T-L,19.99,{URLS[0]},1,",
        f"tee,,,,,,,{URLS[2]},3,",
        f"two,Men's shirt,Shirts,Color,Red,S-R,29.99,{URLS[3]},1,{URLS[3]}",
        f"two,,,,Blue,S-B,29.99,{URLS[4]},2,{URLS[4]}",
        f"two,,,,,,,{URLS[5]},3,",
        f"one,Men's socks,Socks,Title,Default Title,O-1,9.99,{URLS[6]},1,",
        f"one,,,,,,,{URLS[7]},2,",
    ]
    dataset = open_source(written(tmp_path / "feed.csv", "\n".join([header, *rows])), mapping=EURO)
    # Variants without pictures of their own show those of the product.
    assert named(dataset, "T-M") == named(dataset, "T-L") == URLS[:3]
    # Where variants have their own, nobody says what else they show.
    assert (named(dataset, "S-R"), named(dataset, "S-B")) == ([URLS[3]], [URLS[4]])
    assert named(dataset, "O-1") == URLS[6:8]


def test_woocommerce_lists_them_and_variations_inherit_them(tmp_path: Path) -> None:
    header = "ID,Type,SKU,Name,Published,Regular price,Categories,Images,Parent"
    rows = [
        f'1,simple,S,Men\'s tee,1,19.99,T-Shirts,"{URLS[0]}, {URLS[1]}",',
        f'2,variable,V,Summer dress,1,,Women > Dresses,"{URLS[2]}, {URLS[3]}",',
        "3,variation,V-1,Summer dress - M,1,29.99,,,V",
        f"4,variation,V-2,Summer dress - L,1,29.99,,{URLS[4]},V",
    ]
    dataset = open_source(written(tmp_path / "feed.csv", "\n".join([header, *rows])), mapping=EURO)
    assert (named(dataset, "S"), named(dataset, "V-1"), named(dataset, "V-2")) == (URLS[:2], URLS[2:4], [URLS[4]])


def test_a_mapping_names_them_and_its_draft_does_too(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.csv", csv(**{"Rückseite": URLS[1], "Detail": URLS[2], "gallery": URLS[3]}))
    assert named(open_source(path, mapping=EURO)) == [URLS[0], URLS[3]]
    mapping = written(tmp_path / "shop.toml", '[columns]\nfurther_images = ["Rückseite", "Detail"]\n')
    assert named(open_source(path, mapping=read_mapping(mapping))) == URLS[:3]
    suggested = draft(read_feed(path, EURO))
    assert 'further_images = ["gallery"]' in suggested
    again = read_mapping(written(tmp_path / "draft.toml", suggested))
    assert named(open_source(path, mapping=again)) == [URLS[0], URLS[3]]


def test_more_than_eight_are_left_out_and_named(tmp_path: Path) -> None:
    dataset = open_source(written(tmp_path / "feed.csv", csv(images=", ".join(URLS))), mapping=EURO)
    assert named(dataset) == URLS[:8]
    assert reasons(dataset, "repaired") == {2: "more than 8 photographs: 4 are left out"}


def test_files_lie_beside_the_feed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "images/b.jpg"):
        written(tmp_path / name, name)
    dataset = open_source(written(tmp_path / "feed.csv", csv(image_link="a.jpg|b.jpg|c.jpg")), mapping=EURO)
    assert named(dataset) == ["a.jpg", "images/b.jpg", "c.jpg"]
    assert dataset.read("images/b.jpg") == b"images/b.jpg"
    with pytest.raises(NotFound):
        dataset.read("c.jpg")


def test_a_source_without_any_does_not_say_that_there_are_none(tmp_path: Path) -> None:
    assert not open_source(written(tmp_path / "feed.csv", csv()), mapping=FeedMapping()).has_further
    assert open_source(written(tmp_path / "feed.csv", csv(image_2="")), mapping=FeedMapping()).has_further
