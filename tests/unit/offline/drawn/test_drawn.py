"""The drawn catalogue: the data set's labels, true colours, the same bytes for a seed."""

import csv
import io
import math
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from offline.dataset.cells import GENDERS
from offline.dataset.rows import open_dataset
from offline.dataset.split import photograph_digests, twin_groups
from offline.drawn import catalogue_specs, draw_catalogue, draw_product, draw_upload, held_out_photographs
from offline.drawn.assortment import ARTISTS, LINES
from offline.drawn.offer import FOOTWEAR, attributes_of, price_of
from offline.drawn.palette import BASE_COLOURS
from offline.drawn.patterns import PATTERNS
from services.contract.errors import InvalidInput
from services.contract.own_attributes import validate_attributes


def test_a_catalogue_is_as_varied_as_a_real_one() -> None:
    specs = catalogue_specs()
    assert len(specs) == 480
    assert len({spec.id for spec in specs}) == 480
    assert {spec.gender for spec in specs} == set(GENDERS)
    assert len({spec.article_type for spec in specs}) >= 16
    assert len({spec.base_colour for spec in specs}) >= 12
    assert {spec.pattern for spec in specs} == set(PATTERNS)
    # A top 10 within a derived type wants company.
    assert min(Counter((spec.gender, spec.article_type) for spec in specs).values()) >= 6


def test_some_products_come_in_several_colourways_and_none_twice() -> None:
    specs = catalogue_specs()
    colours: dict[str, list[str]] = {}
    for spec in specs:
        colours.setdefault(spec.name, []).append(spec.base_colour)
    assert all(len(set(ways)) == len(ways) for ways in colours.values())
    in_several = sum(len(ways) for ways in colours.values() if len(ways) > 1)
    assert 0.1 < in_several / len(specs) < 0.6


def test_a_drawn_catalogue_is_a_clean_data_set_and_the_same_for_a_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        draw_catalogue(tmp_path / name, seed=seed, products=14)
    with open_dataset(tmp_path / "one") as one, open_dataset(tmp_path / "two") as two:
        assert one.report.findings == ()
        assert one.report.missing == {}
        assert one.rows == two.rows
        digests = photograph_digests(one)
        assert digests == photograph_digests(two)
        assert len(twin_groups(one.rows, digests)) == 14
        with Image.open(io.BytesIO(one.photograph(one.rows[0].id))) as photograph:
            assert (photograph.format, photograph.mode, photograph.size) == ("JPEG", "RGB", (360, 480))
    with open_dataset(tmp_path / "other") as other:
        assert digests.keys() == photograph_digests(other).keys()
        assert not set(digests.values()) & set(photograph_digests(other).values())


def test_no_folder_with_files_is_drawn_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput):
        draw_catalogue(tmp_path)
    with pytest.raises(InvalidInput):
        draw_catalogue(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("products", [0, 5001])
def test_a_catalogue_of_no_sensible_size_is_refused(products: int) -> None:
    with pytest.raises(InvalidInput):
        catalogue_specs(7, products)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.gender} {line.article_type} {line.share}")
def test_each_line_is_drawn_on_white_in_each_cut(line: object) -> None:
    assert line in LINES
    spec = next(
        spec
        for spec in catalogue_specs(7, 550)
        if (spec.gender, spec.article_type) == (line.gender, line.article_type)  # type: ignore[attr-defined]
    )
    for cut in dict.fromkeys(line.cuts):  # type: ignore[attr-defined]
        picture = draw_product(replace(spec, cut=cut))
        assert (picture.mode, picture.size) == ("RGB", (360, 480))
        assert picture.getpixel((2, 240)) == (255, 255, 255)
        inked = sum(picture.convert("L").point([int(v < 240) for v in range(256)]).histogram()[1:2])
        assert 0.02 < inked / (360 * 480) < 0.85


def _share_of(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    """Share of the drawn pixels that are nearer to a colour, shaded or not, than 40 of 255."""
    near = drawn = 0
    for pixel in picture.reduce(4).get_flattened_data():
        if min(pixel) > 250:
            continue
        drawn += 1
        shades = (tuple(channel * light for channel in colour) for light in (1.0, 0.9, 0.8))
        near += min(math.dist(pixel, shade) for shade in shades) < 40
    return near / max(1, drawn)


@pytest.mark.parametrize("colour", ["Red", "Navy Blue", "Yellow", "Green", "Pink", "Purple", "Black", "Orange"])
@pytest.mark.parametrize(("gender", "article_type", "cut"), [("Women", "Handbags", "tote"), ("Men", "Shirts", "long")])
def test_a_product_has_the_colour_that_its_label_says(colour: str, gender: str, article_type: str, cut: str) -> None:
    spec = next(spec for spec in catalogue_specs() if (spec.gender, spec.article_type) == (gender, article_type))
    picture = draw_product(replace(spec, base_colour=colour, pattern="Solid", cut=cut))
    assert _share_of(picture, BASE_COLOURS[colour]) > 0.4
    others = {"Red", "Green", "Yellow", "Blue"} - {colour}
    assert all(_share_of(picture, BASE_COLOURS[other]) < 0.15 for other in others)


def test_an_article_that_cannot_be_drawn_is_refused_by_name() -> None:
    spec = replace(catalogue_specs(7, 1)[0], article_type="Umbrellas")
    with pytest.raises(InvalidInput, match="Umbrellas"):
        draw_product(spec)


def test_every_artist_has_a_line() -> None:
    assert {line.article_type for line in LINES} == set(ARTISTS)


def test_held_out_photographs_are_in_no_catalogue() -> None:
    held_out = held_out_photographs(7)
    assert held_out == held_out_photographs(7)
    assert held_out[0].spec.base_colour == "Yellow"
    known = {(line.gender, line.article_type) for line in LINES}
    drawn = {spec.seed for spec in catalogue_specs(7)}
    for photograph in held_out:
        assert (photograph.spec.gender, photograph.spec.article_type) in known
        assert photograph.spec.seed not in drawn
        with Image.open(io.BytesIO(photograph.photograph)) as picture:
            assert (picture.format, picture.size) == ("JPEG", (540, 720))


def test_an_upload_shows_the_same_thing_in_other_light() -> None:
    spec = held_out_photographs(7)[1].spec
    upload, product = draw_upload(spec), draw_product(spec)
    assert upload.tobytes() != product.resize(upload.size).tobytes()
    assert _share_of(product, BASE_COLOURS["Red"]) > 0.4
    # Warm, uneven light: the paper is no longer white.
    assert max(upload.getpixel((5, 5))) < 255  # type: ignore[arg-type]


def test_every_label_stands_in_the_real_data_set(fashion_dataset: Path) -> None:
    with open_dataset(fashion_dataset) as dataset:
        if dataset.report.rows_read != 39_897:
            pytest.skip("FASHION_DATASET is another data set than the one that the labels are from")
        real = {(r.gender, r.master_category, r.sub_category, r.article_type, r.base_colour) for r in dataset.rows}
    drawn = {
        (line.gender, line.master_category, line.sub_category, line.article_type, colour)
        for line in LINES
        for colour in line.colours
    }
    assert sorted(drawn - real) == []


def test_the_table_is_plain_csv(tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "out", products=5)
    with (tmp_path / "out" / "styles.csv").open(newline="") as file:
        assert {len(fields) for fields in csv.reader(file)} == {13}
    with open_dataset(tmp_path / "out") as dataset:
        assert all(row.brand and row.name and row.name.startswith(f"{row.brand} ") for row in dataset.rows)
        assert all(row.price and row.attributes for row in dataset.rows)
        assert not dataset.report.findings


def test_prices_and_attributes_are_those_of_a_shop() -> None:
    specs = catalogue_specs(7)
    prices = {spec.id: price_of(spec) for spec in specs}
    assert prices == {spec.id: price_of(spec) for spec in catalogue_specs(7)}
    assert {price.currency_code for price in prices.values()} == {"EUR"}
    assert len({price.units for price in prices.values()}) > 60
    mean = {
        kind: statistics.mean(prices[spec.id].units for spec in specs if spec.article_type == kind)
        for kind in ("Socks", "Tshirts", "Jackets")
    }
    assert mean["Socks"] < mean["Tshirts"] < mean["Jackets"]
    by_product: dict[tuple[str, int], set[object]] = {}
    for spec in specs:
        attributes = validate_attributes(attributes_of(spec))
        assert ("size" in attributes) == (spec.sub_category in {"Topwear", "Dress", "Bottomwear", *FOOTWEAR})
        if spec.cut in {"denim", "leather"}:
            assert attributes["material"] == (spec.cut.capitalize(),)
        by_product.setdefault((spec.name, spec.seed), set()).add((prices[spec.id], attributes["material"]))
    assert {len(offers) for offers in by_product.values()} == {1}, "colourways differ"
    assert len(by_product) < len(specs)


def test_every_article_type_has_a_price_and_a_material() -> None:
    for line in LINES:
        spec = replace(catalogue_specs(7, 1)[0], gender=line.gender, article_type=line.article_type, cut="")
        spec = replace(spec, sub_category=line.sub_category)
        assert price_of(spec).units >= 6
        assert attributes_of(spec)["material"]
