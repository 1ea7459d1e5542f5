"""Other indexes that search under a filter: FAISS IVF with a selector, hnswlib with its filter, Milvus Lite."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.peers import INSTALL as INSTALL
from offline.benchmark.peers import load_again
from services.search.indexes.base import IndexedProduct

if TYPE_CHECKING:
    from offline.benchmark.selectivity import Part

_TOP_K: Final = 10
_MAX_LISTS: Final = 1024
_PROBES: Final = 32
_TRAINED_A_LIST: Final = 39
_EF: Final = 100

Way = Callable[[NDArray[np.float32], "Part"], NDArray[np.int64]]


def faiss_ivf(embeddings: Iterable[NDArray[np.float16]], count: int) -> dict[str, Way]:
    """Returns an inverted file of float16 vectors, of which a search looks into 32 lists.

    Args:
        embeddings: of all products, in parts: float16, shape (m, dimension).
        count: their number.
    """
    import faiss

    parts = list(embeddings)
    dimension = parts[0].shape[1]
    lists = min(_MAX_LISTS, int(4 * np.sqrt(count)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    step = max(1, count // (_TRAINED_A_LIST * lists))
    index.train(np.concatenate([part[::step] for part in parts]).astype(np.float32))
    while parts:
        index.add(parts.pop(0).astype(np.float32))

    def search(query: NDArray[np.float32], part: "Part") -> NDArray[np.int64]:
        faiss.omp_set_num_threads(1)
        selector = faiss.IDSelectorBitmap(np.packbits(part.mask, bitorder="little"))  # type: ignore[call-arg, arg-type]
        parameters = faiss.SearchParametersIVF()
        parameters.sel, parameters.nprobe = selector, _PROBES
        ids: NDArray[np.int64] = index.search(query[np.newaxis], _TOP_K, params=parameters)[1][0]
        return ids[ids >= 0]

    return {"FAISS IVF": search}


def hnswlib_index(embeddings: Iterable[NDArray[np.float16]], count: int) -> dict[str, Way]:
    """Returns a graph, which asks a function of Python whether a product passes.

    Raises:
        ImportError: hnswlib is not installed.
    """
    import hnswlib

    index: Any = None
    for part in embeddings:
        if index is None:
            index = hnswlib.Index(space="ip", dim=part.shape[1])
            index.init_index(max_elements=count, ef_construction=_EF, M=16, random_seed=1)
        index.add_items(part.astype(np.float32), num_threads=-1)
    index.set_ef(_EF)

    def search(query: NDArray[np.float32], part: "Part") -> NDArray[np.int64]:
        k = min(_TOP_K, int(np.count_nonzero(part.mask)))
        try:
            ids, _ = index.knn_query(query, k=k, num_threads=1, filter=lambda number: bool(part.mask[number]))
        except RuntimeError:
            # It found fewer than were asked for, and then gives none.
            return np.empty(0, dtype=np.int64)
        return np.asarray(ids[0], dtype=np.int64)

    return {"hnswlib": search}


def milvus_lite(products: Iterator[list[IndexedProduct]], dimension: int, folder: Path) -> dict[str, Way]:
    """Returns Milvus Lite, which filters by the labels of the products.

    Raises:
        ImportError: Milvus Lite is not installed.
    """
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(folder / "selectivity.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for name in ("brand", "season", "usage", "derived_type"):
        schema.add_field(name, DataType.VARCHAR, max_length=256)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection("products", schema=schema, index_params=indexes)
    for batch in products:
        for start in range(0, len(batch), 500):
            rows = [
                {
                    "id": int(each.product.id),
                    "vector": each.embedding.astype(np.float32),
                    "brand": each.product.brand,
                    "season": each.product.season,
                    "usage": each.product.usage,
                    "derived_type": each.product.derived_type,
                }
                for each in batch[start : start + 500]
                if each.embedding is not None
            ]
            client.insert("products", rows)
    load_again(client)

    def search(query: NDArray[np.float32], part: "Part") -> NDArray[np.int64]:
        labels = {**part.labels, **({} if part.derived_type is None else {"derived_type": (part.derived_type,)})}
        condition = " and ".join(f"{name} in {list(each)}" for name, each in labels.items())
        found = client.search("products", data=[query.tolist()], limit=_TOP_K, filter=condition)
        return np.array([each["id"] for each in found[0]], dtype=np.int64)

    return {"Milvus Lite": search}
