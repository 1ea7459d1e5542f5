"""Writes to an index: all or nothing, of one snapshot, and none of what is wrong."""

import threading

import numpy as np
import pytest

from offline.benchmark.correctness.material import ARTICLE_TYPES
from services.search.filters.colours import DislikedColour
from services.search.indexes.base import Eligibility, IndexedProduct
from tests.conformance.materials import DIMENSION, MakesIndex, embedding, product, query_vector


class SnapshotConformance(MakesIndex):
    """Every answer is of one snapshot."""

    def test_loading_replaces_everything(self) -> None:
        index = self.make_index()
        index.apply([IndexedProduct(product("old"), embedding(0))], (), 1)
        index.load([[IndexedProduct(product("a"), embedding(1))], [IndexedProduct(product("b"), embedding(2))]], 7)
        answer = index.search(embedding(1).astype(np.float32), 5, Eligibility())
        assert [hit.product.id for hit in answer.hits] == ["a", "b"]
        assert (answer.index_version, index.product("old")) == (7, None)

    def test_an_empty_index_answers_with_nothing(self) -> None:
        index = self.make_index()
        answer = index.search(query_vector(0), 10, Eligibility(disliked_colours=(DislikedColour("Red"),)))
        assert (answer.hits, answer.eligible_count, answer.excluded_colours) == ((), 0, ("Red",))
        assert index.facts().product_count == 0

    def test_refuses_what_is_no_embedding_and_changes_nothing(self) -> None:
        index = self.make_index()
        good = IndexedProduct(product("good"), embedding(0))
        for bad in (
            embedding(0, DIMENSION + 1),
            embedding(0).astype(np.float32),
            np.full(DIMENSION, np.nan, dtype=np.float16),
        ):
            with pytest.raises(ValueError, match="bad"):
                index.apply([good, IndexedProduct(product("bad"), bad)], (), 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="twice"):
            index.apply([good, good], (), 1)
        with pytest.raises(ValueError, match="twice"):
            index.apply([good], ["good"], 1)
        with pytest.raises(ValueError, match="finite"):
            index.search(np.full(DIMENSION, np.nan, dtype=np.float32), 1, Eligibility())
        assert index.facts().product_count == 0
        assert index.facts().index_version == 0

    def test_every_answer_under_writes_is_that_of_one_snapshot(self) -> None:
        """Version v has v % 7 + 1 products, all of the colour "v", so that an answer shows its version."""
        index = self.make_index()
        stop, wrong, answered = threading.Event(), list[str](), [0]

        def read() -> None:
            while not stop.is_set():
                answer = index.search(query_vector(3), 50, Eligibility())
                colours = {hit.product.base_colour for hit in answer.hits}
                count = answer.index_version % 7 + 1 if answer.index_version else 0
                if len(answer.hits) != count or colours != ({str(answer.index_version)} if count else set()):
                    wrong.append(f"{answer.index_version}: {len(answer.hits)} hits of {colours}")
                answered[0] += 1

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for version in range(1, self.versions):
            ids = [f"p{number}" for number in range(version % 7 + 1)]
            rows = [
                IndexedProduct(
                    product(name, base_colour=str(version), article_type=ARTICLE_TYPES[(version + i) % 3]),
                    embedding(version + i),
                )
                for i, name in enumerate(ids)
            ]
            index.apply(rows, [f"p{number}" for number in range(len(ids), 8)], version)
        stop.set()
        for reader in readers:
            reader.join(timeout=30)
        assert not any(reader.is_alive() for reader in readers)
        assert not wrong
        assert answered[0] > 0
