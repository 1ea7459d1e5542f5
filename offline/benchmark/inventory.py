"""What a search of the whole inventory costs, beside a comparison with all products."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings

_TOP_K = 10


def inventory_figures(
    batches: Sequence[Sequence[IndexedProduct]],
    queries: Mapping[str, NDArray[np.float32]],
    rounds: int,
    settings: FaissSettings | None = None,
) -> dict[str, Any]:
    """Measures searches for ten products, as they are served and with all products compared, in turn.

    Args:
        batches: the products of the inventory, by derived type.
        queries: by name; float32, shape (n, dimension), L2 norm 1.
        rounds: how often each query is asked; the median counts.
        settings: of the index as it is served; None for those of the service.

    Returns:
        By name of the queries: median and p99 in ms of processor time of one thread, and how many of the lists differ.
    """
    dimension = next(iter(queries.values())).shape[1]
    everything = FaissSettings(exact_limit=sum(map(len, batches)) + 1)
    indexes = {
        "served": FaissIndex(dimension, settings or FaissSettings()),
        "all compared": FaissIndex(dimension, everything),
    }
    for index in indexes.values():
        index.load(batches, 1)
    figures: dict[str, Any] = {}
    for name, rows in queries.items():
        times = {way: np.zeros((rounds, len(rows))) for way in indexes}
        differing = 0
        for at, query in enumerate(rows):
            for turn in range(rounds):
                lists = []
                for way, index in indexes.items():
                    began = time.thread_time()
                    hits = index.search(query, _TOP_K, Eligibility()).hits
                    times[way][turn, at] = (time.thread_time() - began) * 1000
                    lists.append([hit.product.id for hit in hits])
            differing += lists[0] != lists[1]
        each = {way: np.median(spent, axis=0) for way, spent in times.items()}
        figures[name] = {
            "queries": len(rows),
            "differing_lists": differing,
            **{f"{way}_ms": [float(np.median(ms)), float(np.quantile(ms, 0.99))] for way, ms in each.items()},
        }
    return figures
