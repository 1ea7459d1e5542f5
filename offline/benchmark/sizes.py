"""What search needs for catalogues of several sizes: memory, and processor time of a product's query.

python -m offline.benchmark.sizes 5000 20000 40000
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.deployment import deployed
from offline.benchmark.processes import ServerProcess

_ROWS: Final = 500
_DIMENSION: Final = 2048
_QUERIES: Final = 400
_TYPES: Final = ("Tshirts", "Shirts", "Jeans", "Dresses", "Shoes", "Handbags", "Watches", "Tops", "Shorts", "Kurtas")


def sizes(products: list[int]) -> dict[int, dict[str, Any]]:
    """Writes catalogues of random embeddings, each larger than the one before, and measures search after each.

    Args:
        products: numbers of products, ascending.

    Returns:
        For each number: memory of search in MiB, after the queries, and processor time of a query, in ms.
    """
    random, figures, written = np.random.default_rng(0), {}, 0
    environment = {"EMBEDDER_RUNTIME": "fake", "CLASSIFIER_BUNDLE": "imagenet"}
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed(Path(folder), environment=environment) as deployment,
        grpc.insecure_channel(deployment.search.target) as channel,
    ):
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        version = stub.GetIndex(search_pb2.GetIndexRequest()).model_version
        for count in products:
            for at in range(written, count, _ROWS):
                looks = random.normal(size=(min(_ROWS, count - at), _DIMENSION)).astype(np.float32)
                looks /= np.linalg.norm(looks, axis=1, keepdims=True)
                rows = [_row(at + number, look, version) for number, look in enumerate(looks)]
                stub.UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows), timeout=120)
            written = count
            # Writes leave memory behind that a start does not need.
            deployment.search.stop()
            deployment.search.start()
            stub.GetIndex(search_pb2.GetIndexRequest(), timeout=60, wait_for_ready=True)
            search = ServerProcess(deployment.search.target, deployment.search.pid, 0.0)
            before = search.processor_s()
            for number in range(_QUERIES):
                product = f"p{number * 7 % count}"
                scope = search_pb2.SEARCH_SCOPE_INVENTORY
                stub.FindSimilar(search_pb2.FindSimilarRequest(product_id=product, scope=scope), timeout=20)
            spent = search.processor_s() - before
            memory = search.resident_mib()
            figures[count] = {"resident_mib": round(memory), "query_ms": round(spent * 1000 / _QUERIES, 2)}
            print(count, figures[count], flush=True)  # noqa: T201
    return figures


def _row(number: int, look: Any, version: str) -> search_pb2.ProductRow:
    product = types_pb2.Product(
        id=f"p{number}",
        gender="GENDER_WOMEN" if number % 2 else "GENDER_MEN",
        article_type=_TYPES[number // 2 % len(_TYPES)],
        sub_category="Everything",
        base_colour="Blue",
    )
    return search_pb2.ProductRow(
        product=product, embedding=types_pb2.Embedding(values=look.tolist(), model_version=version)
    )


if __name__ == "__main__":
    json.dump(sizes([int(each) for each in sys.argv[1:]]), sys.stdout, indent=1)
