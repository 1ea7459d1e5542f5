"""Which products the demo holds out of its catalogue."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

from cli.demo.material import (
    EXAMPLE_PHOTOGRAPH,
    HELD_OUT,
    choose_held_out,
    demo_dataset_name,
    drawn_photographs,
    held_out_material,
    leave_photographs,
)
from offline.dataset.row import Row
from offline.dataset.rows import open_dataset
from offline.dataset.split import styles_csv


def rows_of(count: int, types: int = 10) -> list[Row]:
    return [
        Row(
            id=str(number),
            gender="Men",
            master_category="Apparel",
            sub_category="Topwear",
            article_type=f"type {number % types}",
            base_colour="Yellow" if number % 7 == 0 else "Blue",
            season=None,
            year=None,
            usage=None,
            name=f"name {number}",
        )
        for number in range(count)
    ]


def digests_of(rows: list[Row]) -> dict[str, str]:
    return {row.id: f"digest {row.id}" for row in rows}


def test_the_same_products_are_held_out_whatever_the_order_of_rows() -> None:
    rows = rows_of(300)
    chosen = choose_held_out(rows, digests_of(rows))
    assert len(chosen) == 10
    assert {row.id for row in choose_held_out(rows[::-1], digests_of(rows))} == {row.id for row in chosen}
    assert len({row.derived_type for row in chosen}) == len(chosen)


def test_half_of_them_have_the_disliked_colour_and_come_first() -> None:
    rows = rows_of(2000, types=40)
    chosen = choose_held_out(rows, digests_of(rows))
    assert len(chosen) == HELD_OUT
    assert [row.base_colour for row in chosen[: HELD_OUT // 2]] == ["Yellow"] * (HELD_OUT // 2)


def test_a_product_with_a_twin_is_never_held_out() -> None:
    rows = rows_of(300)
    digests = digests_of(rows)
    before = choose_held_out(rows, digests)
    for row in before:
        # Another product with the same photograph.
        rows.append(replace(row, id=f"twin-of-{row.id}", name="another name"))
        digests[f"twin-of-{row.id}"] = digests[row.id]
    after = choose_held_out(rows, digests)
    assert not {row.id for row in after if row.id.startswith("twin")}
    assert after
    assert not {row.id for row in after} & {row.id for row in before}


def test_at_most_one_in_ten_is_held_out_and_none_of_a_rare_type() -> None:
    few = rows_of(30, types=2)
    assert len(choose_held_out(few, digests_of(few))) == 2
    rare = rows_of(30, types=15)
    assert choose_held_out(rare, digests_of(rare)) == ()


def test_catalogue_and_held_out_part_the_data_set_and_unreadable_photographs_stay_in_it(tmp_path: Path) -> None:
    rows = rows_of(200)
    path = tmp_path / "shop.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("styles.csv", styles_csv(rows))
        for row in rows:
            archive.writestr(f"images/{row.id}.jpg", f"photograph {row.id}")
    with open_dataset(path) as dataset:
        expected = held_out_material(dataset, dataset.rows)
    spoiled = expected.held_out[0]
    content = path.read_bytes()
    # The stored bytes no longer fit their checksum.
    broken = content.replace(f"photograph {spoiled}".encode(), f"photogr@ph {spoiled}".encode(), 1)
    assert broken != content
    path.write_bytes(broken)
    with zipfile.ZipFile(io.BytesIO(broken)) as archive:
        assert archive.testzip() == f"images/{spoiled}.jpg"
    with open_dataset(path) as dataset:
        material = held_out_material(dataset, dataset.rows)
    assert spoiled not in material.held_out
    assert {row.id for row in material.rows} | set(material.held_out) == {row.id for row in rows}
    assert not {row.id for row in material.rows} & set(material.held_out)
    assert [photograph.content for photograph in expected.photographs] == [
        f"photograph {photograph.name.split()[1]}".encode() for photograph in expected.photographs
    ]


def test_each_data_set_has_a_directory_of_its_own(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "shop.zip", tmp_path / "b" / "shop.zip"
    assert demo_dataset_name(one) != demo_dataset_name(other)
    assert demo_dataset_name(one) == demo_dataset_name(tmp_path / "a" / ".." / "a" / "shop.zip")
    assert demo_dataset_name(one).startswith("shop-")


def test_photographs_are_left_for_people_to_search_with(tmp_path: Path) -> None:
    photographs = drawn_photographs()
    leave_photographs(photographs, tmp_path / "out")
    assert (tmp_path / "out" / EXAMPLE_PHOTOGRAPH.name).read_bytes() == photographs[0].content
    assert len(list((tmp_path / "out").iterdir())) == len(photographs)
