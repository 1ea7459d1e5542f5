"""The shop's own attributes in feeds: what comes in by itself, what a mapping adds, and what is repaired."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.dataset.row import Row
from offline.dataset.rows import Dataset
from offline.feeds.attributes import attribute_name
from offline.feeds.draft import draft
from offline.feeds.feed import read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from offline.feeds.products import feed_dataset, open_source
from services.contract.attributes import is_attribute_name
from services.contract.errors import InvalidInput
from services.contract.own_attributes import Flag
from tests.support.feeds import EURO, RSS, SHOPIFY, WOOCOMMERCE, item, opened, reasons, written

TABLE = """\
id;title;category;image;gender;Stoff;Größe;Absatz;Bio;Passform
1;Schuh;Schuhe > Heels;https://s/1.jpg;Damen;Leder|Textil;38;4,5 cm;ja;"eng; lang"
2;Schuh;Schuhe > Heels;https://s/2.jpg;Damen;;39;flach;nein;
3;Schuh;Schuhe > Heels;https://s/3.jpg;Damen;NA;;;vielleicht;weit
"""
MAPPING = """
[attributes]
absatz_cm = { column = "Absatz", kind = "number" }
bio = { column = "Bio", kind = "yes or no" }
passform = { column = "Passform", separator = "" }
age_group = []
"""


def _mapped(tmp_path: Path, toml: str, content: str) -> Dataset:
    mapping = read_mapping(written(tmp_path / "m.toml", toml))
    path = written(tmp_path / "feed.csv", content)
    return feed_dataset(read_feed(path, mapping), mapping)


def _attributes(dataset: Dataset) -> list[dict[str, Any]]:
    return [dict(row.attributes or {}) for row in dataset.rows]


def test_those_of_google_come_in_by_themselves(tmp_path: Path) -> None:
    content = item(material="cotton/elastane", size="M", pattern="striped", age_group="adult", size_type="petite")
    dataset = opened(written(tmp_path / "feed.xml", RSS.format(content + item(id="8"))))
    named = {
        "age_group": ("adult",),
        "material": ("cotton", "elastane"),
        "pattern": ("striped",),
        "size": ("M",),
        "size_type": ("petite",),
    }
    assert _attributes(dataset) == [named, {}]
    assert "attributes" in dataset.fields
    without = opened(written(tmp_path / "other.xml", RSS.format(item())))
    # A source that has none keeps those of the catalogue.
    assert "attributes" not in without.fields and without.rows[0].attributes is None


def test_the_options_and_metafields_of_shopify(tmp_path: Path) -> None:
    header, _, rows = SHOPIFY.partition("\n")
    metafields = ",Fabric (product.metafields.shopify.fabric),Score (product.metafields.reviews.rating)"
    lines = [f"{line},Cotton; Wool,4.5" if line.startswith("tee,Men") else f"{line},," for line in rows.splitlines()]
    dataset = opened(written(tmp_path / "products.csv", "\n".join([header + metafields, *lines]) + "\n"))
    assert _attributes(dataset) == [
        {"fabric": ("Cotton", "Wool"), "size": ("S",)},
        {"fabric": ("Cotton", "Wool"), "size": ("M",)},
        {},
    ]


def test_the_attributes_of_woocommerce(tmp_path: Path) -> None:
    header, _, rows = WOOCOMMERCE.partition("\n")
    extra = {
        "1,": ',pa_size,"32, 34",Brand,Acme,Note,"Soft\\, warm"',
        "2,": ',Size,"S, M",Material,Linen,,',
        "3,": ",Size,S,,,,",
    }
    lines = [line + extra.get(line[:2], ",,,,,,") for line in rows.splitlines()]
    names = "".join(f",Attribute {number} name,Attribute {number} value(s)" for number in (2, 3, 4))
    dataset = opened(written(tmp_path / "wc.csv", "\n".join([header + names, *lines]) + "\n"))
    jeans, red, blue = dataset.rows
    assert (jeans.attributes, jeans.brand) == ({"note": ("Soft, warm",), "size": ("32", "34")}, "Acme")
    # A variation takes from its parent what it lacks.
    assert red.attributes == {"material": ("Linen",), "size": ("S",)}
    assert blue.attributes == {"material": ("Linen",), "size": ("S", "M")}


def test_a_mapping_names_columns_and_kinds(tmp_path: Path) -> None:
    dataset = _mapped(tmp_path, MAPPING, TABLE)
    assert _attributes(dataset) == [
        {
            "absatz_cm": 4.5,
            "bio": Flag.YES,
            "material": ("Leder", "Textil"),
            "passform": ("eng; lang",),
            "size": ("38",),
        },
        {"bio": Flag.NO, "size": ("39",)},
        {"passform": ("weit",)},
    ]
    repaired = reasons(dataset, "repaired")
    assert "absatz_cm 'flach' is no number" in repaired[3] and "bio 'vielleicht' is no yes or no" in repaired[4]


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ('[attributes]\n"Shoe width" = "Stoff"', '"shoe_width"'),
        ('[attributes]\nstoff = "Stof"', 'nearest is "Stoff"'),
        ('[attributes]\nstoff = { column = "Stoff", kind = "numbr" }', 'nearest is "number"'),
        ('[attributes]\nstoff = { colum = "Stoff" }', 'nearest is "column"'),
        ('[attributes]\nstoff = { kind = "number" }', "must give a text"),
        ("[attributes]\nstoff = 3", "must give a text"),
        ('[attributes]\nstoff = { column = "Stoff", separator = 3 }', "separator"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path: Path, toml: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        _mapped(tmp_path, toml, TABLE)


def test_json_keeps_numbers_and_answers(tmp_path: Path) -> None:
    own = {"Heel mm": 40, "organic": True, "material": ["Cotton", "Wool"], "size": "38", "odd": {"a": 1}, "none": None}
    row = {"id": "1", "title": "Shirt", "category": "Men > Shirts", "image": "https://s/1.jpg", "attributes": own}
    dataset = opened(written(tmp_path / "feed.jsonl", json.dumps(row)))
    assert _attributes(dataset) == [
        {"heel_mm": 40.0, "material": ("Cotton", "Wool"), "organic": Flag.YES, "size": ("38",)}
    ]
    assert "'odd'" in reasons(dataset, "repaired")[1]


@pytest.mark.parametrize("number", [40, 7.5, 0.125, 1.125, 1.0625, -2.5, 1234.5, 1e-5])
def test_a_column_of_numbers_in_json_keeps_their_decimals(tmp_path: Path, number: float) -> None:
    mapping = read_mapping(written(tmp_path / "m.toml", '[attributes]\nweight = { column = "w", kind = "number" }'))
    row = {"id": "1", "title": "Shirt", "category": "Men > Shirts", "image": "https://s/1.jpg", "w": number}
    feed = read_feed(written(tmp_path / "feed.jsonl", json.dumps(row)), mapping)
    assert _attributes(feed_dataset(feed, mapping)) == [{"weight": number}]


def test_what_does_not_fit_is_left_out_and_said(tmp_path: Path) -> None:
    many = "|".join(f"L{number}" for number in range(30))
    content = item(material=f"{'x' * 200}/wool/wool", size=many)
    (row,) = (dataset := opened(written(tmp_path / "feed.xml", RSS.format(content)))).rows
    assert row.attributes == {"material": ("wool",), "size": tuple(f"L{number}" for number in range(20))}
    told = reasons(dataset, "repaired")[1]
    assert "material has 200 characters" in told and "size has 30 labels" in told
    wide = {"id": "1", "title": "Shirt", "category": "Men > Shirts", "image": "https://s/1.jpg"}
    wide["attributes"] = {f"a{number}": number for number in range(60)}  # type: ignore[assignment]
    (row,) = opened(written(tmp_path / "feed.jsonl", json.dumps(wide))).rows
    assert row.attributes is not None and len(row.attributes) == 50


@pytest.mark.parametrize("content", [SHOPIFY, WOOCOMMERCE, TABLE, RSS.format(item(material="cotton", size="M"))])
def test_the_draft_lists_attributes_and_runs_as_it_is(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "feed", content)
    toml = draft(read_feed(path))
    mapping = read_mapping(written(tmp_path / "m.toml", toml))
    plain, mapped = feed_dataset(read_feed(path)), feed_dataset(read_feed(path, mapping), mapping)
    assert _attributes(mapped) == _attributes(plain)
    # What is not used needs but the mark before it removed.
    if content is TABLE:
        assert '# bio = "Bio"' in toml and 'material = ["Stoff"]  # 2 of 3 rows' in toml
        chosen = toml.replace('# bio = "Bio"', 'bio = "Bio"')
        mapping = read_mapping(written(tmp_path / "n.toml", chosen))
        assert _attributes(feed_dataset(read_feed(path, mapping), mapping))[0]["bio"] == ("ja",)


@given(st.text(max_size=90))
def test_any_text_makes_a_name_or_none(text: str) -> None:
    name = attribute_name(text)
    assert name == "" or is_attribute_name(name)
    assert attribute_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [("Shoe width", "shoe_width"), ("pa_size", "size"), ("Größe (EU)", "größe_eu"), ("2nd fabric", "no_2nd_fabric")],
)
def test_a_name_reads_like_the_column(text: str, name: str) -> None:
    assert attribute_name(text) == name


def test_kaggles_layout_has_a_column_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    written(tmp_path / "images" / "1.jpg", b"x")
    header = (
        "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName,attributes"
    )
    own = '"{""material"": [""Cotton""], ""heel_mm"": 40, ""organic"": false}"'
    for cell, expected in ((own, {"heel_mm": 40.0, "material": ("Cotton",), "organic": Flag.NO}), ('"[1]"', None)):
        table = f"{header}\n1,Men,Apparel,Topwear,Shirts,Blue,Summer,2018,Casual,Shirt,{cell}\n"
        written(tmp_path / "styles.csv", table)
        dataset = open_source(tmp_path, mapping=EURO)
        (row,) = dataset.rows
        assert isinstance(row, Row) and row.attributes == expected
    assert FeedMapping().attributes == {} and "unreadable attributes" in reasons(dataset, "repaired")[2]
