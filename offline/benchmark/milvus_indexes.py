"""What the index types of a Milvus server find under filters: `fashion bench milvus-indexes`.

Each type is asked as it is, without what search does to fill an answer.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import Upstream
from services.search.indexes.milvus.settings import MilvusSettings

_PARAMETERS: Final[Mapping[str, Mapping[str, int]]] = {"FLAT": {}, "HNSW": {"M": 16, "efConstruction": 200}}
_TOP_K: Final = 10
_QUERIES: Final = 50
_BATCH: Final = 1000
# In thousandths.
_SHARES: Final = (5, 10, 20, 50, 100, 250, 500, 1000)
_EFS: Final = (64, 256)
_TIMEOUT_S: Final = 300.0
_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What searches for ten rows found.

    Attributes:
        index: type of the index, with the rows that it keeps in view where it has such a number.
        partitions: "one", or "by type": a partition key as search has it.
        share: of the rows that pass the filter.
        filled: share of the answers that have ten rows.
        recall: share of the right ten.
        p50_ms: median time of a search, in milliseconds.
    """

    index: str
    partitions: str
    share: float
    filled: float
    recall: float
    p50_ms: float


def index_figures(
    settings: MilvusSettings, embeddings: NDArray[np.float16], types: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Fills collections of their own, asks them, and deletes them.

    Args:
        settings: where Milvus is.
        embeddings: shape (n, dimension).
        types: the derived type of each.
        say: is told each figure.
    """
    from pymilvus import MilvusClient

    client = MilvusClient(settings.uri, token=settings.token, timeout=_TIMEOUT_S)
    dice = np.random.default_rng(1)
    shares = dice.integers(0, 1000, len(embeddings))
    queries = embeddings[dice.choice(len(embeddings), _QUERIES, replace=False)].astype(np.float32)
    queries += 0.01 * dice.normal(size=queries.shape).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    similarities = queries @ embeddings.astype(np.float32).T
    cells: list[Cell] = []
    for index, partitions in (("FLAT", "by type"), ("HNSW", "one")):
        name = f"check_{secrets.token_hex(6)}"
        try:
            _fill(client, name, index, partitions, embeddings, types, shares)
            for ef in _EFS if index == "HNSW" else (0,):
                for cell in _asked(client, name, index, partitions, ef, queries, similarities, shares):
                    cells.append(cell)
                    say(str(cell))
        finally:
            client.drop_collection(name)
    client.close()
    return {"rows": len(embeddings), "load_at_end": os.getloadavg()[0], "cells": [asdict(each) for each in cells]}


def _fill(
    client: Any,
    name: str,
    index: str,
    partitions: str,
    embeddings: NDArray[np.float16],
    types: Sequence[str],
    shares: NDArray[np.int64],
) -> None:
    """Makes a collection, and waits until it is indexed.

    Raises:
        Upstream: INDEX_UNAVAILABLE; it is not indexed in time.
    """
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("type", DataType.VARCHAR, max_length=512, is_partition_key=partitions == "by type")
    schema.add_field("share", DataType.INT32)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=embeddings.shape[1])
    parameters = client.prepare_index_params()
    parameters.add_index("vector", index_type=index, metric_type="IP", params=_PARAMETERS[index])
    client.create_collection(name, schema=schema, index_params=parameters, consistency_level="Bounded")
    for start in range(0, len(embeddings), _BATCH):
        rows = [
            {"id": row, "type": types[row], "share": int(shares[row]), "vector": embeddings[row].astype(np.float32)}
            for row in range(start, min(start + _BATCH, len(embeddings)))
        ]
        client.insert(name, rows)
    client.flush(name)
    end = time.monotonic() + _TIMEOUT_S
    while pending := client.describe_index(name, "vector")["pending_index_rows"]:
        if time.monotonic() > end:
            raise Upstream(
                f"Milvus has not indexed {pending:,} rows within {_TIMEOUT_S:.0f} s.", reason="INDEX_UNAVAILABLE"
            )
        time.sleep(_PAUSE_S)
    client.load_collection(name)
    # Until the segments that are indexed have taken the place of those that were written.
    time.sleep(_PAUSE_S)


def _asked(
    client: Any,
    name: str,
    index: str,
    partitions: str,
    ef: int,
    queries: NDArray[np.float32],
    similarities: NDArray[np.float32],
    shares: NDArray[np.int64],
) -> Iterator[Cell]:
    for share in _SHARES:
        passing = np.flatnonzero(shares < share)
        filled = right = 0
        times: list[float] = []
        for query, row in zip(queries, similarities, strict=True):
            best = set(passing[np.argsort(-row[passing])[:_TOP_K]].tolist())
            begun = time.perf_counter()
            hits = client.search(
                name,
                [query],
                limit=_TOP_K,
                filter=f"share < {share}",
                search_params={"metric_type": "IP", "params": {"ef": ef} if ef else {}},
                consistency_level="Bounded",
            )[0]
            times.append(1e3 * (time.perf_counter() - begun))
            found = {hit["id"] for hit in hits}
            filled += len(found) == _TOP_K
            right += len(found & best)
        yield Cell(
            f"{index} {ef}" if ef else index,
            partitions,
            share / 1000,
            round(filled / len(queries), 3),
            round(right / (_TOP_K * len(queries)), 4),
            round(float(np.median(times)), 1),
        )
