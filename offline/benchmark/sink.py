"""A search service that takes all rows and keeps nothing, to measure what sends them.

`python -m offline.benchmark.sink PORT`
"""

import asyncio
import sys
from typing import Any

import grpc

from fashion.v1 import search_pb2

_SERVICE = "fashion.v1.SearchService"


async def serve(port: int) -> None:
    """Serves until it is killed."""

    async def get_index(request: search_pb2.GetIndexRequest, context: object) -> search_pb2.GetIndexResponse:
        return search_pb2.GetIndexResponse()

    async def upsert(request: search_pb2.UpsertProductsRequest, context: object) -> search_pb2.UpsertProductsResponse:
        created = search_pb2.UPSERT_OUTCOME_CREATED
        results = [search_pb2.UpsertResult(product_id=row.product.id, outcome=created) for row in request.rows]
        return search_pb2.UpsertProductsResponse(results=results, index_version=1)

    def handler(function: Any, request: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(function, request.FromString, lambda each: each.SerializeToString())

    handlers = {
        "GetIndex": handler(get_index, search_pb2.GetIndexRequest),
        "UpsertProducts": handler(upsert, search_pb2.UpsertProductsRequest),
    }
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
