"""Embedding a data set for an evaluation: what is dropped, what is kept on disk, what an interruption costs."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.row import COLUMNS
from offline.dataset.rows import open_dataset
from offline.evaluate.cache import EmbeddingCache
from offline.evaluate.products import DatasetEmbedder, ProductTable, drawn, product_of
from services.contract.errors import InvalidInput
from services.contract.values import Subject
from services.embedder.runtimes.fake import FakeEncoder
from services.search.catalogue.products import Price


class CountingEncoder(FakeEncoder):
    """Counts pictures, and can break down after some."""

    def __init__(self, breaks_after: int | None = None) -> None:
        super().__init__(dimension=32)
        self.encoded = 0
        self._breaks_after = breaks_after

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._breaks_after is not None and self.encoded >= self._breaks_after:
            raise RuntimeError("the power went")
        self.encoded += len(batch)
        return super().encode(batch)


def picture(colour: tuple[int, int, int]) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (30, 40), colour).save(content, "JPEG")
    return content.getvalue()


def write_shop(folder: Path, photographs: Sequence[bytes], gender: str = "Men") -> Path:
    (folder / "images").mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    for at, content in enumerate(photographs):
        lines.append(f"{at},{gender},Apparel,Topwear,Shirts,Blue,Summer,2012,Casual,Shirt {at}")
        (folder / "images" / f"{at}.jpg").write_bytes(content)
    (folder / "styles.csv").write_text("\n".join(lines) + "\n")
    return folder


def embed(
    shop: Path,
    encoder: FakeEncoder,
    cache_folder: Path,
    steps: list[int] | None = None,
    subject: Subject = Subject.WHOLE,
) -> ProductTable:
    with open_dataset(shop) as dataset, EmbeddingCache(cache_folder, encoder.model) as cache:
        advance = (lambda done: None) if steps is None else steps.append
        embedder = DatasetEmbedder(encoder, cache, threads=2)
        return embedder.embed(dataset, dataset.rows, np.float32, advance, subject=subject)


@pytest.fixture
def shades() -> list[bytes]:
    return [picture((shade, 255 - shade, 80)) for shade in range(0, 250, 50)]


def test_embeddings_are_those_of_the_encoder_in_the_order_of_the_rows(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", shades)
    steps: list[int] = []

    table = embed(shop, CountingEncoder(), tmp_path / "cache", steps)

    assert table.ids == ["0", "1", "2", "3", "4"]
    assert table.derived_types == ["Men Shirts"] * 5
    assert np.linalg.norm(table.embeddings, axis=1) == pytest.approx(np.ones(5))
    assert sum(steps) == 5


def test_a_second_run_embeds_nothing_and_finds_the_same(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", shades)
    first = embed(shop, CountingEncoder(), tmp_path / "cache")

    again = CountingEncoder()
    second = embed(shop, again, tmp_path / "cache")

    assert again.encoded == 0
    np.testing.assert_array_equal(first.embeddings, second.embeddings)


def test_the_same_photograph_is_embedded_once(tmp_path: Path, shades: list[bytes]) -> None:
    encoder = CountingEncoder()

    table = embed(write_shop(tmp_path / "shop", [shades[0]] * 4), encoder, tmp_path / "cache")

    assert encoder.encoded == 1
    assert len(table) == 4


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, shades: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offline.evaluate.products._CHUNK", 2)
    shop = write_shop(tmp_path / "shop", shades)
    with pytest.raises(RuntimeError, match="power"):
        embed(shop, CountingEncoder(breaks_after=4), tmp_path / "cache")

    encoder = CountingEncoder()
    embed(shop, encoder, tmp_path / "cache")

    assert encoder.encoded == 1


def test_models_do_not_share_embeddings(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", shades)
    embed(shop, FakeEncoder(dimension=32, seed=1), tmp_path / "cache")

    other = embed(shop, FakeEncoder(dimension=32, seed=2), tmp_path / "cache")

    expected = embed(shop, FakeEncoder(dimension=32, seed=2), tmp_path / "empty")
    np.testing.assert_array_equal(other.embeddings, expected.embeddings)


def test_a_product_without_usable_photograph_or_row_is_dropped_by_name(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", [shades[0], b"no picture", shades[1]])
    with (shop / "styles.csv").open("a") as styles:
        styles.write("7,Men,Apparel,Topwear,,Blue,Summer,2012,Casual,Shirt\n")
        styles.write("8,Men,Apparel,Topwear,Shirts,Blue,Summer,2012,Casual,Shirt\n")

    table = embed(shop, CountingEncoder(), tmp_path / "cache")

    assert table.ids == ["0", "2"]
    dropped = {one.id: one.reason for one in table.dropped}
    assert dropped.keys() == {"1", "7", "8"}
    assert "JPEG, PNG or WebP" in dropped["1"]
    assert "no articleType" in dropped["7"]
    assert "no photograph" in dropped["8"]


def test_a_garment_that_is_looked_at_is_cached_apart_from_the_whole(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", shades)
    embed(shop, CountingEncoder(), tmp_path / "cache")

    encoder = CountingEncoder()
    embed(shop, encoder, tmp_path / "cache", subject=Subject.AUTO)

    assert encoder.encoded == 5


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no product"):
        embed(write_shop(tmp_path / "shop", [b"no picture"]), CountingEncoder(), tmp_path / "cache")


def test_a_cache_that_is_none_is_refused_by_name(tmp_path: Path, shades: list[bytes]) -> None:
    encoder = CountingEncoder()
    with EmbeddingCache(tmp_path, encoder.model) as cache:
        path = cache.path
    path.write_bytes(b"not a database" * 2000)

    with pytest.raises(InvalidInput, match=r"cache .*sqlite cannot be used"):
        embed(write_shop(tmp_path / "shop", shades), encoder, tmp_path)


def test_a_cached_embedding_of_another_length_is_refused(tmp_path: Path) -> None:
    model = CountingEncoder().model
    with EmbeddingCache(tmp_path, model) as cache:
        cache.write({b"digest": np.ones(3, dtype=np.float32)})
        with pytest.raises(InvalidInput, match=r"does not have .* finite floats"):
            list(cache.read([b"digest"]))


def test_the_cache_knows_what_it_was_told_and_nothing_else(tmp_path: Path) -> None:
    model = CountingEncoder().model
    vectors = {bytes([at, at // 256]): np.full(32, at, dtype=np.float32) for at in range(40)}
    with EmbeddingCache(tmp_path, model) as cache:
        cache.write(vectors)
    with EmbeddingCache(tmp_path, model) as cache:
        found = dict(cache.read([*vectors, b"unknown"]))

    assert found.keys() == vectors.keys()
    assert all((found[key] == vectors[key]).all() for key in vectors)


def test_a_draw_is_repeatable_without_repetition_and_in_order() -> None:
    assert drawn(5, None, seed=0) == drawn(5, 9, seed=0) == [0, 1, 2, 3, 4]
    some = drawn(100, 10, seed=3)
    assert some == drawn(100, 10, seed=3) == sorted(set(some))
    assert len(some) == 10
    assert some != drawn(100, 10, seed=4)


def test_large_pictures_are_encoded_a_few_at_a_time(
    tmp_path: Path, shades: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write_shop(tmp_path / "shop", shades)
    expected = embed(shop, CountingEncoder(), tmp_path / "first")
    sizes: list[int] = []

    class Watched(CountingEncoder):
        def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            sizes.append(len(batch))
            return super().encode(batch)

    monkeypatch.setattr("offline.evaluate.products._PIXELS_AT_ONCE", 2 * 80 * 60)
    found = embed(shop, Watched(), tmp_path / "second")

    assert sizes == [2, 2, 1]
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)


def test_a_product_keeps_its_price_and_its_own_attributes(tmp_path: Path, shades: list[bytes]) -> None:
    shop = write_shop(tmp_path / "shop", shades[:1])
    (header, line, *_) = (shop / "styles.csv").read_text().splitlines()
    more = '19.99 EUR,"{""material"":[""Cotton""]}"'
    (shop / "styles.csv").write_text(f"{header},price,attributes\n{line},{more}\n")
    with open_dataset(shop) as dataset:
        product = product_of(dataset.rows[0])
    assert product.price == Price("EUR", 19, 990_000_000)
    assert product.attributes == {"material": ("Cotton",)}
