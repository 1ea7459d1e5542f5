"""Embeddings in a file: what was written is read back, in any order, also where the disk is full."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.flat_index import FlatIndex
from services.search.indexes.rows_file import RowsFile, StoredIndex
from tests.conformance.materials import product

DIMENSION = 32


def _rows(count: int, seed: int) -> NDArray[np.float16]:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@contextmanager
def _room(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [None, 40 * 2 * DIMENSION])
def test_it_has_what_was_written(tmp_path: Path, room: int | None) -> None:
    random, file = Random(1), RowsFile(tmp_path, DIMENSION)
    assert not [*tmp_path.iterdir()]
    held: dict[int, NDArray[np.float16]] = {}
    with _room(room or (1 << 40)):
        for step in range(60):
            added = _rows(random.randrange(1, 9), step)
            places = file.add(added)
            assert not held.keys() & set(places.tolist())
            held |= zip(places.tolist(), added, strict=True)
            some = random.sample(sorted(held), min(5, len(held)))
            file.write(np.array(some), replaced := _rows(len(some), 1000 + step))
            held |= zip(some, replaced, strict=True)
            gone = random.sample(sorted(held), min(3, len(held) - 1))
            file.free(np.array(gone))
            held = {place: row for place, row in held.items() if place not in gone}
            order = random.sample(sorted(held), len(held))
            assert np.array_equal(file.read(np.array(order)), np.stack([held[place] for place in order]))
    assert max(held) < 8 * 60
    # Once there is room, rows go to the file again.
    file.write(np.array(sorted(held)), np.stack([held[place] for place in sorted(held)]))
    assert not file._held
    assert np.array_equal(file.read(np.array(sorted(held))), np.stack([held[place] for place in sorted(held)]))


def test_the_nearest_are_those_of_an_index_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.search.indexes.rows_file._COMPARED", 50)
    file = RowsFile(tmp_path, DIMENSION)
    StoredIndex(file).append(_rows(7, 9))
    stored, flat = StoredIndex(file), FlatIndex(DIMENSION)
    for index in (stored, flat):
        index.append(_rows(300, 1))
        index.remove([0, 7, 250])
        index.append(_rows(20, 2))
        index.overwrite(5, _rows(1, 3)[0])
    assert len(stored) == len(flat) == 317
    assert np.array_equal(stored.read(slice(0, 317)), flat.read(slice(0, 317)))
    eligible = np.arange(317) % 3 > 0
    for query in _rows(10, 4).astype(np.float32):
        for k in (1, 10, int(eligible.sum())):
            similarities, positions = flat.nearest(query, k, eligible)
            found, places = stored.nearest(query, k, eligible)
            assert np.array_equal(found, similarities) and np.array_equal(places, positions)


def test_an_index_goes_on_where_the_disk_is_full(tmp_path: Path) -> None:
    rows = [IndexedProduct(product(f"{number:03}"), row) for number, row in enumerate(_rows(200, 5))]
    index = FaissIndex(DIMENSION, FaissSettings(on_disk_from=50), folder=tmp_path)
    with _room(30 * 2 * DIMENSION), capture_logs() as logs:
        index.load([rows[:100]], 1)
        index.apply(rows[100:], [], 2)
    assert [log["event"] for log in logs] == ["embeddings stay in memory: the disk does not take them"]
    for number in (0, 60, 150):
        (hit,) = index.search(_rows(200, 5)[number].astype(np.float32), 1, Eligibility()).hits
        assert hit.product.id == f"{number:03}"
    assert np.array_equal(index.members("Men Tshirts").embeddings, _rows(200, 5))


def test_an_index_goes_on_where_no_file_can_be_made(tmp_path: Path) -> None:
    rows = [IndexedProduct(product(f"{number:03}"), row) for number, row in enumerate(_rows(60, 5))]
    index = FaissIndex(DIMENSION, FaissSettings(on_disk_from=50), folder=tmp_path / "missing")
    with capture_logs() as logs:
        index.load([rows], 1)
    assert logs and index.facts().product_count == 60
    assert index.search(_rows(60, 5)[7].astype(np.float32), 1, Eligibility()).hits[0].product.id == "007"
