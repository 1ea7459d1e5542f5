"""A bare gRPC server that answers with a given number of bytes, to measure transport alone.

`python -m offline.benchmark.echo PORT ANSWER_BYTES`
"""

import asyncio
import sys
from typing import Any

import grpc

METHOD = "/fashion.benchmark.Echo/Echo"


async def serve(port: int, answer: bytes) -> None:
    """Serves until it is killed."""

    async def echo(request: bytes, context: object) -> bytes:
        return answer

    server = grpc.aio.server()
    # Without serialisers, requests and answers are bytes.
    handlers: Any = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fashion.benchmark.Echo", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), bytes(int(sys.argv[2]))))
