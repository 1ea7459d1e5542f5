"""The map of a catalogue: which products it shows, where they lie, what is written, and what is said when it cannot."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.commands.catalogue import ColourBy
from cli.main import run
from offline.catalogue_map.layout import (
    ATTRIBUTES,
    MAP_FILE,
    CatalogueMap,
    draw_sample,
    lay_out,
    stratified,
    to_unit_square,
    write_document,
)
from offline.catalogue_map.plot import grouped
from services.contract.errors import FashionError, NotFound
from services.contract.values import Embedding, Gender, Photograph
from services.search.catalogue.content import NewContent, Upsert
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue, CatalogueUnusable

DIMENSION = 32
TYPES = (("Shirts", "Topwear"), ("Watches", "Watches"), ("Bags", "Bags"))


def upsert(product_id: str, kind: int, seed: int, model_version: str = "m1", **attributes: Any) -> Upsert:
    # Products of a type point the same way, all but a little.
    values = np.random.default_rng(kind).normal(size=DIMENSION) + np.random.default_rng(1000 + seed).normal(
        scale=0.2, size=DIMENSION
    )
    article_type, sub_category = TYPES[kind]
    product = Product(
        id=product_id, gender=Gender.MEN, sub_category=sub_category, article_type=article_type, **attributes
    )
    embedding = Embedding((values / np.linalg.norm(values)).astype(np.float32), model_version)
    return Upsert(product, NewContent(embedding, None))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """60 shirts, 30 watches, 10 bags: a data directory."""
    kinds = [0] * 60 + [1] * 30 + [2] * 10
    with Catalogue(tmp_path / "data") as catalogue:
        catalogue.write(
            [
                upsert(
                    f"p{at:03}", kind, at, name=f"Product {at} <b>é</b>", base_colour="Navy Blue" if at % 2 else None
                )
                for at, kind in enumerate(kinds)
            ]
        )
    return tmp_path / "data"


def test_the_document_says_which_products_have_no_picture(tmp_path: Path) -> None:
    pictured = upsert("pictured", 0, 1)
    assert isinstance(pictured.content, NewContent)
    content = NewContent(pictured.content.embedding, Photograph(b"a photograph"))
    with Catalogue(tmp_path / "data") as catalogue:
        catalogue.write([upsert("bare", 0, 0), Upsert(pictured.product, content)])
    sample = draw_sample(tmp_path / "data")
    products = CatalogueMap(sample, np.zeros((2, 2), dtype=np.float32)).document()["products"]
    assert {each["id"]: each["photograph_absent"] for each in products} == {"bare": True, "pictured": False}


def test_every_type_has_its_share_and_the_same_seed_chooses_the_same(shop: Path) -> None:
    sample = draw_sample(shop, limit=20, seed=3)
    kinds = [product.article_type for product in sample.products]
    assert [kinds.count(kind) for kind in ("Shirts", "Watches", "Bags")] == [12, 6, 2]
    ids = [product.id for product in sample.products]
    assert ids == sorted(set(ids))
    assert [product.id for product in draw_sample(shop, 20, 3).products] == ids
    assert [product.id for product in draw_sample(shop, 20, 4).products] != ids
    assert sample.catalogue_size == 100
    assert len(draw_sample(shop, 5000).products) == 100


def test_each_product_comes_with_its_own_embedding(shop: Path) -> None:
    sample = draw_sample(shop, 40)
    with Catalogue(shop) as catalogue:
        for product, embedding in zip(sample.products, sample.embeddings, strict=True):
            stored = catalogue.get(product.id)
            assert stored is not None and stored.product == product
            np.testing.assert_array_equal(embedding, stored.embedding.astype(np.float32))


@pytest.mark.parametrize("limit", [1, 2, 7, 50, 109])
def test_a_stratified_choice_is_as_large_as_asked(limit: int) -> None:
    strata = {("Men", str(size)): [f"{size}-{at}" for at in range(size)] for size in (1, 2, 3, 4, 100)}
    chosen = stratified(strata, limit, np.random.default_rng(0))
    assert len(set(chosen)) == len(chosen) == limit
    large = sum(product_id.startswith("100-") for product_id in chosen)
    assert abs(large - limit * 100 / 110) < 1


def test_a_catalogue_that_a_server_has_open_is_read_and_its_newest_write_seen(shop: Path) -> None:
    with Catalogue(shop) as catalogue:
        catalogue.write([upsert("new", 0, 999)])
        sample = draw_sample(shop)
        assert "new" in {product.id for product in sample.products}
        # It is in nobody's way either.
        catalogue.write(deletes=["new"])


def test_embeddings_of_two_models_are_never_mixed(shop: Path) -> None:
    with Catalogue(shop) as catalogue:
        catalogue.write([upsert(f"old{at}", 0, at, model_version="m0") for at in range(30)])
    sample = draw_sample(shop)
    assert sample.model_version == "m1"
    assert (len(sample.products), sample.catalogue_size) == (100, 130)


def test_products_that_look_alike_lie_together(shop: Path) -> None:
    laid_out = lay_out(draw_sample(shop))
    places = laid_out.places
    kinds = np.array([product.article_type for product in laid_out.sample.products])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1)[:, :5]
    assert (kinds[nearest] == kinds[:, None]).mean() > 0.95
    np.testing.assert_array_equal(lay_out(laid_out.sample).places, places)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11])
def test_a_small_catalogue_has_a_map_too(tmp_path: Path, count: int) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert(f"p{at}", at % 3, at) for at in range(count)])
    places = lay_out(draw_sample(tmp_path)).places
    assert places.shape == (count, 2)
    assert np.isfinite(places).all() and places.min() >= 0 and places.max() <= 1
    assert len(np.unique(places, axis=0)) == count


def test_the_unit_square_keeps_the_aspect() -> None:
    moved = to_unit_square(np.array([[-10.0, 5.0], [30.0, 5.0], [10.0, 15.0]], np.float32))
    np.testing.assert_allclose(moved, [[0, 0.375], [1, 0.375], [0.5, 0.625]], atol=1e-6)
    np.testing.assert_array_equal(to_unit_square(np.full((2, 2), 7, np.float32)), np.full((2, 2), 0.5))


def test_the_command_writes_what_the_storefront_reads(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalogue", "map", "--data-dir", str(shop), "--products", "50", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    file = shop / MAP_FILE
    assert said == {
        "file": str(file),
        "picture": None,
        "products": 50,
        "catalogue_size": 100,
        "model_version": "m1",
    }
    document = json.loads(file.read_text())
    assert list(document) == ["products", "attributes", "model_version", "catalogue_size", "sampled"]
    assert (document["model_version"], document["catalogue_size"], document["sampled"]) == ("m1", 100, 50)
    assert document["attributes"] == list(ATTRIBUTES)
    assert len(document["products"]) == 50
    with Catalogue(shop) as catalogue:
        for shown in document["products"]:
            stored = catalogue.get(shown["id"])
            assert stored is not None
            assert 0 <= shown.pop("x") <= 1 and 0 <= shown.pop("y") <= 1
            assert shown == {
                "id": stored.product.id,
                "name": stored.product.name,
                "gender": "Men",
                "article_type": stored.product.article_type,
                "sub_category": stored.product.sub_category,
                "base_colour": stored.product.base_colour,
                "derived_type": stored.product.derived_type,
                "photograph_absent": stored.product.photograph_absent,
            }


@pytest.mark.parametrize("colour_by", [one.value for one in ColourBy])
def test_the_picture_shows_something_in_colour(shop: Path, tmp_path: Path, colour_by: str) -> None:
    picture = tmp_path / "pictures" / "map.png"
    arguments = ["catalogue", "map", "--data-dir", str(shop), "--output", str(picture), "--colour-by", colour_by]
    assert run(arguments) == 0
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("HSV"))
    # Points and legend; the rest is grey.
    assert (pixels[..., 1] > 100).mean() > 0.001


def test_what_a_map_can_be_coloured_by_is_what_it_holds() -> None:
    assert tuple(one.value for one in ColourBy) == ATTRIBUTES


def test_rare_values_are_taken_together_and_unknown_ones_stay_unknown() -> None:
    values: list[str | None] = [f"v{at:02}" for at in range(20) for _ in range(20 - at)] + [None] * 50
    rows, colours = grouped(values, "article_type")
    assert list(rows) == [*(f"v{at:02}" for at in range(12)), "others", "unknown"]
    assert len(rows["others"]) == sum(range(1, 9))
    assert len(rows["unknown"]) == 50
    assert len({colours[name] for name in rows}) == 13
    assert sorted(at for found in rows.values() for at in found) == list(range(len(values)))


def test_colours_are_shown_by_family_in_that_colour() -> None:
    rows, colours = grouped(["Navy Blue", "Blue", "White", "Octarine", None], "base_colour")
    assert rows == {"Blue": [0, 1], "White": [2], "others": [3], "unknown": [4]}
    assert colours["White"] == "#ffffff"


def test_a_write_that_fails_leaves_the_old_map(tmp_path: Path) -> None:
    write_document({"products": []}, tmp_path / MAP_FILE)
    with pytest.raises(TypeError):
        write_document({"products": [object()]}, tmp_path / MAP_FILE)
    assert json.loads((tmp_path / MAP_FILE).read_text()) == {"products": []}
    assert [path.name for path in (tmp_path / "map").iterdir()] == ["map.json"]


def test_where_there_is_no_catalogue_it_says_so_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["catalogue", "map", "--data-dir", str(tmp_path / "nowhere")]) == 3
    assert "There is no catalogue" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    with Catalogue(tmp_path / "empty"):
        pass
    with pytest.raises(NotFound, match="empty"):
        draw_sample(tmp_path / "empty")
    (tmp_path / "catalogue.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(CatalogueUnusable, match="cannot be read"):
        draw_sample(tmp_path)


def test_a_picture_of_an_unknown_kind_is_refused_before_the_work(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["catalogue", "map", "--data-dir", str(shop), "--output", "map.gif"]) == 2
    assert ".png" in capsys.readouterr().err
    assert not (shop / MAP_FILE).exists()


def test_without_scikit_learn_it_names_the_extra(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    # As Python itself does it: an import of what is None fails.
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(FashionError, match=r"fashion-recommender\[train\]") as caught:
        lay_out(draw_sample(shop))
    assert caught.value.reason == "EXTRA_MISSING"
