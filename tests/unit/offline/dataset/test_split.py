"""Splitting by twins: nothing that looks the same on both sides, and the same split every time."""

import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.dataset.row import Row
from offline.dataset.rows import open_dataset
from offline.dataset.split import given_parts, photograph_digests, split, styles_csv, twin_groups, write_subset
from offline.drawn import draw_catalogue
from services.contract.errors import InvalidInput


def row(product_id: str, name: str | None, colour: str | None = "Blue") -> Row:
    return Row(product_id, "Men", "Apparel", "Topwear", "Shirts", colour, None, None, None, name)


def own_photographs(rows: list[Row]) -> dict[str, str]:
    return {row.id: f"photograph of {row.id}" for row in rows}


def test_name_and_colour_make_twins_but_neither_alone() -> None:
    rows = [
        row("1", "A"),
        row("2", "A", "Red"),
        row("3", "B"),
        row("4", " a  "),
        row("5", "A", None),
        row("6", "A", None),
    ]
    assert twin_groups(rows, own_photographs(rows)) == (("1", "4"), ("2",), ("3",), ("5", "6"))


def test_products_without_a_name_are_not_twins_by_colour() -> None:
    rows = [row("1", None), row("2", None)]
    assert twin_groups(rows, own_photographs(rows)) == (("1",), ("2",))


def test_the_same_photograph_makes_twins_and_links_are_followed() -> None:
    rows = [row("4", "A"), row("3", "A"), row("2", "B"), row("1", "C")]
    digests = {"4": "x", "3": "y", "2": "y", "1": "z"}
    assert twin_groups(rows, digests) == (("1",), ("2", "3", "4"))


def test_a_product_without_a_digest_is_refused() -> None:
    with pytest.raises(InvalidInput):
        twin_groups([row("1", "A")], {})


@given(
    st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from(["Red", "Blue"]), st.integers(0, 9)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_split_does_not_depend_on_the_order_and_parts_no_twins(
    products: list[tuple[str, str, int]], draw: st.DataObject
) -> None:
    rows = [row(str(at), name, colour) for at, (name, colour, _) in enumerate(products)]
    digests = {str(at): str(photograph) for at, (_, _, photograph) in enumerate(products)}
    halves = {"train": 0.5, "test": 0.5}
    parts = split(rows, digests, "salt", halves)
    assert list(parts) == [row.id for row in rows]
    shuffled = rows.copy()
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(shuffled, digests, "salt", halves) == parts
    for one in rows:
        for other in rows:
            if digests[one.id] == digests[other.id] or (one.name, one.base_colour) == (other.name, other.base_colour):
                assert parts[one.id] == parts[other.id]


def test_fractions_are_kept_and_the_salt_matters() -> None:
    rows = [row(str(at), f"name {at}") for at in range(4000)]
    digests = own_photographs(rows)
    parts = split(rows, digests)
    counts = Counter(parts.values())
    assert counts["train"] == pytest.approx(3400, abs=90)
    assert counts["validation"] == pytest.approx(200, abs=60)
    assert counts["test"] == pytest.approx(400, abs=80)
    assert split(rows, digests, salt="another") != parts
    assert set(split(rows, digests, fractions={"test": 1.0}).values()) == {"test"}


def test_a_product_keeps_its_part_when_others_are_added() -> None:
    rows = [row(str(at), f"name {at}") for at in range(300)]
    before = split(rows[:200], own_photographs(rows))
    after = split(rows, own_photographs(rows))
    assert all(after[product_id] == part for product_id, part in before.items())


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {}])
def test_fractions_that_are_no_shares_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        split([row("1", "A")], {"1": "x"}, "salt", fractions)  # type: ignore[arg-type]


def test_a_subset_is_a_data_set_again(tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "all", products=6)
    with open_dataset(tmp_path / "all") as dataset:
        ids = [row.id for row in dataset.rows][1:4]
        write_subset(dataset, ids, tmp_path / "parts" / "some.zip")
        write_subset(dataset, ids[::-1], tmp_path / "again.zip")
        with open_dataset(tmp_path / "parts" / "some.zip") as subset:
            assert subset.rows == dataset.rows[1:4]
            assert [subset.photograph(i) for i in ids] == [dataset.photograph(i) for i in ids]
            assert subset.report.findings == ()
            assert photograph_digests(subset).keys() == set(ids)
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "parts" / "some.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert {i.compress_type for i in archive.infolist() if i.filename.startswith("images/")} == {zipfile.ZIP_STORED}


def test_a_subset_without_products_is_a_data_set_too(tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "all", products=1)
    with open_dataset(tmp_path / "all") as dataset:
        write_subset(dataset, [], tmp_path / "none.zip")
    with open_dataset(tmp_path / "none.zip") as subset:
        assert subset.rows == ()


def test_a_subset_of_unknown_products_leaves_no_file(tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "all", products=1)
    with open_dataset(tmp_path / "all") as dataset, pytest.raises(InvalidInput):
        write_subset(dataset, ["nobody"], tmp_path / "parts" / "some.zip")
    assert not (tmp_path / "parts").exists()


def test_names_with_commas_and_quotes_survive_the_table(tmp_path: Path) -> None:
    rows = [row("1", 'A 3.5" shirt, long'), row("2", '"Quoted", and more'), row("3", None, None)]
    (tmp_path / "images").mkdir()
    for product in rows:
        (tmp_path / "images" / f"{product.id}.jpg").write_bytes(b"x")
    (tmp_path / "styles.csv").write_bytes(styles_csv(rows))
    with open_dataset(tmp_path) as dataset:
        assert list(dataset.rows) == rows


def test_a_table_has_a_column_for_brands_only_where_one_is_known() -> None:
    rows = [row("1", "A shirt"), row("2", "Another")]
    assert styles_csv(rows).splitlines()[0].endswith(b",productDisplayName")
    branded = [replace(rows[0], brand="Harbour"), rows[1]]
    assert [line.rsplit(b",", 1)[1] for line in styles_csv(branded).splitlines()] == [b"brand", b"Harbour", b""]


def test_twins_of_the_real_data_set(fashion_dataset: Path) -> None:
    with open_dataset(fashion_dataset) as dataset:
        if dataset.report.rows_read != 39_897:
            pytest.skip("FASHION_DATASET is another data set than the one whose counts are known")
        digests = photograph_digests(dataset)
        groups = twin_groups(dataset.rows, digests)
        assert sum(len(group) for group in groups) == 39_892
        assert len(groups) == 28_123
        parts = split(dataset.rows, digests)
    assert all(len({parts[product_id] for product_id in group}) == 1 for group in groups)
    counts = Counter(parts.values())
    assert counts["test"] / len(parts) == pytest.approx(0.1, abs=0.01)


def with_parts(folder: Path, parts: str | None) -> Path:
    """Writes a data set of the products 1 and 2, with a `parts.json`."""
    (folder / "images").mkdir(parents=True)
    for product_id in "12":
        (folder / "images" / f"{product_id}.jpg").write_bytes(product_id.encode())
    (folder / "styles.csv").write_bytes(styles_csv([row("1", "A"), row("2", "B")]))
    if parts is not None:
        (folder / "parts.json").write_text(parts)
    return folder


def test_a_data_set_may_give_its_parts(tmp_path: Path) -> None:
    with open_dataset(with_parts(tmp_path / "given", '{"1": "test", "2": "train", "3": "of no product"}')) as dataset:
        assert given_parts(dataset, dataset.rows) == {"1": "test", "2": "train"}
    with open_dataset(with_parts(tmp_path / "none", None)) as dataset:
        assert given_parts(dataset, dataset.rows) is None


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("[1, 2]", "no object of parts"),
        ('"train"', "no object of parts"),
        ('{"1": "train"', "is no JSON"),
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"1": "train"}', "names no part of product 2"),
        ('{"1": "train", "2": "trial"}', "names no part of product 2"),
        ('{"1": "train", "2": ["train"]}', "names no part of product 2"),
    ],
)
def test_parts_that_cannot_be_read_are_refused_with_their_place(tmp_path: Path, parts: str, said: str) -> None:
    folder = with_parts(tmp_path, parts)
    with open_dataset(folder) as dataset, pytest.raises(InvalidInput, match=said) as caught:
        given_parts(dataset, dataset.rows)
    assert f"parts.json in {folder}" in caught.value.message
