"""Answers over gRPC, HTTP and in batches are held to the oracle beside writes; and the oracle finds planted faults."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from offline.benchmark.correctness.run import Correctness
from offline.benchmark.correctness.stack import index_settings
from services.contract.errors import DeadlineExceeded
from services.gateway.routes import similar
from services.search.filters import filter as filters
from services.search.indexes import columnar, nearest
from services.search.indexes.columns import Columns
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.nearest import Selection
from services.search.query.find_similar import SimilarQuery
from services.search.settings import SearchSettings
from services.search.writes.writer import CatalogueWriter
from tests.support.gateways import shop

# Changes what a function returns, given what it returns and its arguments.
Change = Callable[..., Any]


@contextmanager
def _running(folder: Path, settings: FaissSettings) -> Iterator[Correctness]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SearchSettings, "faiss", lambda _: settings)
        with shop(folder, token_free=True) as stack, Correctness(stack.grpc.target, stack.url, products=400) as run:
            run.fill()
            yield run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Correctness]:
    # Most searches of the inventory ask the reduced index.
    settings = FaissSettings(exact_limit=50, components=128, min_candidates=10, candidates_per_hit=1)
    with _running(tmp_path_factory.mktemp("shop"), settings) as run:
        yield run


def test_every_answer_of_a_large_index_is_right_where_it_compares_all_of_its_cells(tmp_path: Path) -> None:
    large = index_settings(SearchSettings(approximate_from=200))
    with _running(tmp_path, replace(large, exact_limit=50)) as run:
        run.round(150)
        run.compare_lists()
        figures = run.figures()
    assert not figures["wrong"], figures["examples"]
    assert figures["queries"] == 150 and figures["full"] > 40


def test_every_answer_is_that_of_a_comparison_with_all_products(run: Correctness) -> None:
    run.rounds(200, lambda _: None)
    run.compare_lists()
    figures = run.figures()
    assert not figures["wrong"], figures["examples"]
    # Most were answered, on every way, batches with several lists each, and many answers were full.
    assert min(figures["paths"].values()) > 40 and figures["queries"] == 200 < figures["answers"]
    assert figures["refused"] < figures["answers"] / 5
    assert figures["full"] > 60 and figures["versions"] > 20


def test_a_write_without_an_answer_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _running(tmp_path, FaissSettings()) as run:
        # Too short for any write.
        monkeypatch.setattr("offline.benchmark.correctness.paths._TIMEOUT_S", 1e-4)
        with pytest.raises(DeadlineExceeded, match=r"^A write got no answer"):
            run._write(Random(1), 1)


def _eligibility(**changes: object) -> tuple[object, str, Change]:
    return Columns, "passing", lambda original, self, asked, rows: original(self, replace(asked, **changes), rows)


def _hits(change: Callable[[Any], Any]) -> tuple[object, str, Change]:
    return Selection, "hits", lambda original, self, k: change(original(self, k))


def _late(original: Any, *arguments: Any) -> None:
    threading.Timer(0.3, original, arguments).start()


def _below(original: Any, mask: Any, name: str, condition: Any, columns: Any) -> None:
    if isinstance(condition, filters.NumberRange) and condition.max is not None:
        condition = replace(condition, max=condition.max - 1e-9)
    original(mask, name, condition, columns)


def _half(original: Any, *arguments: Any) -> Any:
    rows = original(*arguments)
    return None if rows is None else rows[::2]


def _forgetful(original: Any, *arguments: Any) -> SimilarQuery:
    query: SimilarQuery = original(*arguments)
    query._colours = ()
    return query


def _without_exclusions(original: Any, parameters: Any, query: Any) -> Any:
    return original(parameters.model_copy(update={"excluded": []}), query)


# The last one leaves the index in disorder.
FAULTS: dict[str, tuple[object, str, Change]] = {
    "no filter": _eligibility(filter=filters.Filter()),
    "no none_of": (filters, "label_sets", lambda original, *a: (original(*a)[0], frozenset())),
    "no dislikes": _eligibility(disliked_colours=()),
    "no stock": _eligibility(include_out_of_stock=True),
    "no exclusions": (Columns, "without_excluded", lambda _, self, passing, *a: passing),
    "prices below the highest alone": (filters.PriceColumn, "above", lambda _, self, bound: ~self.below(bound)),
    "prices of any currency": (filters.PriceColumn, "of", lambda _, self, code: self.codes >= 0),
    "numbers below the highest alone": (filters, "_narrow_by_own", _below),
    "equals in reverse": (nearest, "_rank", lambda _, hit: (-hit.value, [-ord(each) for each in hit.product.id])),
    "one too few": _hits(lambda hits: hits[:-1]),
    "one twice": _hits(lambda hits: (*hits[:1], *hits)[: len(hits)]),
    "two in the wrong order": _hits(lambda hits: (*hits[1:2], *hits[:1], *hits[2:])),
    "no boosts": (nearest, "boosted", lambda _, similarity, factor: similarity),
    "rungs by similarity alone": (nearest, "_rank", lambda _, hit: (-hit.value, hit.product.id)),
    "a ladder that is never climbed": (columnar, "rungs_of", lambda original, *a: original(*a) * 0 + 4),
    "no rung of article types": (columnar, "rungs_of", lambda original, *a: np.maximum(original(*a), 2)),
    "no variants": (Selection, "with_variants", lambda _, self, hits, asked: tuple(hits)),
    "half of what the reduced index chooses": (FaissIndex, "_chosen", _half),
    "dislikes lost in a batch": (SimilarQuery, "of_product", _forgetful),
    "exclusions lost over HTTP": (similar, "similar_request_to_proto", _without_exclusions),
    "counts that do not add up": (
        SimilarQuery,
        "answered",
        lambda original, *a: replace(original(*a), requested_count=7),
    ),
    "acknowledged before it is found": (CatalogueWriter, "_take_over", _late),
    "no deletes": (FaissIndex, "apply", lambda original, self, rows, deletes, *a: original(self, rows, (), *a)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(run: Correctness, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, change = FAULTS[name]
    original = getattr(owner, attribute)
    monkeypatch.setattr(owner, attribute, lambda *a, **named: change(original, *a, **named))
    run.judge.wrong.clear()
    for _ in range(12):
        run.round(40)
        if run.judge.wrong:
            break
    assert run.judge.wrong
    run.judge.wrong.clear()
