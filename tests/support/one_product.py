"""A server of search that knows one product, for callers in other environments and languages."""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc

from fashion.v1 import search_pb2, search_pb2_grpc
from services.contract.errors import NotFound
from services.serving.status import status_of


class OneProduct(search_pb2_grpc.SearchServiceServicer):
    """Answers with the product that was asked for, so that both directions cross the wire; knows none without an id."""

    def FindSimilar(  # noqa: N802 - the name of the RPC
        self, request: search_pb2.FindSimilarRequest, context: grpc.ServicerContext
    ) -> search_pb2.FindSimilarResponse:
        if not request.product_id:
            status = status_of(NotFound("No such product.", reason="PRODUCT_NOT_FOUND", metadata={"id": ""}))
            context.set_trailing_metadata(status.trailing_metadata)
            context.abort(status.code, status.message)
        found = search_pb2.SimilarProduct(similarity=request.top_k / 10)
        found.product.id = request.product_id
        return search_pb2.FindSimilarResponse(products=[found])


@contextmanager
def one_product() -> Iterator[str]:
    """Serves it on a free port, and gives its address."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    search_pb2_grpc.add_SearchServiceServicer_to_server(OneProduct(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)
