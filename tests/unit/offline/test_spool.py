"""Sequences and mappings on disk hold what lists and dicts would."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.spool import Shelf, Spool, form_of
from services.contract.errors import Overloaded

NUMBERS = st.lists(st.integers(0, 300), max_size=400)


@given(NUMBERS, st.slices(400))
def test_a_spool_is_as_a_list(numbers: list[int], part: slice) -> None:
    spool = Spool(numbers)
    assert list(spool) == numbers and len(spool) == len(numbers) and spool == numbers
    assert spool[part] == numbers[part] and list(spool[part][::-2]) == numbers[part][::-2]
    assert [spool[place] for place in range(-len(numbers), len(numbers))] == numbers + numbers
    with pytest.raises(IndexError):
        spool[len(numbers)]


@given(NUMBERS)
def test_items_of_one_key_stay_in_order(numbers: list[int]) -> None:
    pairs = list(enumerate(numbers))
    assert list(Spool(pairs).in_order(lambda pair: pair[1] // 100)) == sorted(pairs, key=lambda pair: pair[1] // 100)


def test_more_items_than_are_sorted_in_memory_come_in_order() -> None:
    numbers = [number * 7919 % 20_011 for number in range(20_011)]
    assert list(Spool(numbers).in_order(lambda number: number)) == sorted(numbers)


def test_what_is_read_while_items_are_added_is_what_was_there() -> None:
    spool = Spool(range(100))
    read: list[int] = []
    for number in spool:
        read.append(number)
        spool.append(1000 + number)
    assert read == list(range(100)) and spool == [*range(100), *range(1000, 1100)]


@pytest.mark.parametrize("other", [(), (1,), (1, 3), "ab", None])
def test_another_sequence_is_not_the_same(other: Sequence[int] | None) -> None:
    assert Spool([1, 2]) != other and Spool([1, 2]) == (1, 2)


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(Overloaded, match="TMPDIR"):
        Spool(range(1000))


@dataclass(frozen=True)
class Item:
    name: str
    cells: dict[str, list[str]]


def test_a_data_class_is_written_as_built_in_values() -> None:
    items = [Item(f"{number}", {"a": [f"{number}", "b"]}) for number in range(300)]
    spool = Spool(items, form_of(Item))
    assert spool == items and list(spool.in_order(lambda item: item.name)) == sorted(items, key=lambda each: each.name)


@pytest.mark.parametrize("value", [Item("a", {}), {1}, {1: "a"}, [("a", object())]])
def test_no_other_kind_is_written(value: object) -> None:
    with pytest.raises(TypeError, match="is no built-in value"):
        Shelf[object]()["a"] = value


_KEYS = st.text() | st.sampled_from(["list", "dict", "bytes"])
_ATOMS = st.none() | st.booleans() | st.binary() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())


@given(
    st.recursive(
        _ATOMS,
        lambda value: (
            st.lists(value)
            | st.lists(value).map(tuple)
            | st.dictionaries(st.text() | st.sampled_from(["list", "dict", "bytes"]), value)
        ),
    )
)
def test_built_in_values_come_back_as_they_were(value: object) -> None:
    shelf = Shelf[object]()
    shelf["a"] = value
    # Lists, tuples and numbers of different kinds are equal, but not spelt alike.
    assert repr(shelf["a"]) == repr(value)


def test_memory_does_not_grow_with_the_items() -> None:
    def most(count: int) -> int:
        tracemalloc.start()
        spool, shelf = Spool[str](), Shelf[int]()
        for number in range(count):
            spool.append(f"{number}" * 20)
            shelf[f"{number}"] = number
        assert spool[count // 2] == f"{count // 2}" * 20 and shelf[f"{count // 2}"] == count // 2
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(100)
    # As lists they would take six million bytes more; other threads take some too.
    assert most(40_000) < most(2_000) + 1_000_000


@given(st.lists(st.tuples(st.text(st.characters(), max_size=3), st.integers()), max_size=50))
def test_a_shelf_is_as_a_dict(pairs: list[tuple[str, int]]) -> None:
    shelf, expected = Shelf[int](), dict[str, int]()
    for key, value in pairs:
        shelf[key] = value
        expected[key] = value
    assert dict(shelf) == expected and len(shelf) == len(expected)
    assert shelf.setdefault("a key", 1) == expected.setdefault("a key", 1) == shelf["a key"]
    assert "another key" not in shelf and shelf.get("another key") is None
    with pytest.raises(KeyError):
        shelf["another key"]


def test_a_shelf_names_all_its_keys() -> None:
    shelf = Shelf[None]()
    for number in range(10_000):
        shelf[f"{number}"] = None
    assert set(shelf) == {f"{number}" for number in range(10_000)}
