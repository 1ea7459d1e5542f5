"""Checks the health of a server, for containers: `python -m services.serving.probe HOST:PORT [SERVICE]`.

Exits with 0 if the service (without a name: the whole server) is SERVING, else with 1 and a line that says why.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.serving.loopback import channel_options

TIMEOUT_S = 2.0


def probe(target: str, service: str = "") -> str:
    """Returns the status of a service, such as "SERVING", or the reason why it is unknown."""
    with grpc.insecure_channel(target, options=channel_options(target)) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            return code.name if code is not None else str(error)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def main() -> None:
    """Runs the command line."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: python -m services.serving.probe HOST:PORT [SERVICE]")
    status = probe(*sys.argv[1:])
    if status != "SERVING":
        sys.exit(f"{sys.argv[1]} is {status}")


if __name__ == "__main__":
    main()
