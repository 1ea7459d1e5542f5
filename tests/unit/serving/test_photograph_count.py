"""A key's quota of photographs counts each one of a request, wherever it stands."""

from fashion.v1 import embedder_pb2, search_pb2, types_pb2
from services.serving.layers import photograph_count

IMAGE = types_pb2.Image(content=b"picture")


def test_every_photograph_of_a_request_counts() -> None:
    rows = [
        search_pb2.ProductRow(image=IMAGE, further_images=[IMAGE, IMAGE]),
        search_pb2.ProductRow(embedding=types_pb2.Embedding(values=[1])),
        search_pb2.ProductRow(image=IMAGE),
    ]
    assert photograph_count(search_pb2.UpsertProductsRequest(rows=rows), rows) == 4
    assert photograph_count(search_pb2.AddPhotographRequest(image=IMAGE), ()) == 1
    assert photograph_count(search_pb2.AddPhotographRequest(), ()) == 0
    assert photograph_count(search_pb2.FindSimilarRequest(image=IMAGE), ()) == 1
    assert photograph_count(embedder_pb2.BatchEmbedRequest(images=[IMAGE, IMAGE]), ()) == 2
    assert photograph_count(search_pb2.DeleteProductsRequest(product_ids=["a"]), ("a",)) == 0
