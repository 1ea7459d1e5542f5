"""Checks the health of a server, for containers: `python -m services.clients.probe HOST:PORT [SERVICE]`.

Exits with 0 if the service (without a name: the whole server) is SERVING, else with 1 and a line that says why. TLS is
that of the CLIENT_TLS_… variables; health needs no key.
"""

import asyncio
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.clients.channel import open_channel

TIMEOUT_S = 2.0


async def probe(target: str, service: str = "") -> str:
    """Returns the status of a service, such as "SERVING", or the reason why it is unknown."""
    async with open_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call,unused-ignore]
        try:
            response = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def main() -> None:
    """Runs the command line."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: python -m services.clients.probe HOST:PORT [SERVICE]")
    status = asyncio.run(probe(*sys.argv[1:]))
    if status != "SERVING":
        sys.exit(f"{sys.argv[1]} is {status}")


if __name__ == "__main__":
    main()
