"""The methods of a server, each with its layers around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn, cast

import grpc

from services.contract.errors import NotReady
from services.contract.scopes import RPCS
from services.serving.layer import Handler, Layer


@dataclass(frozen=True, slots=True)
class GrpcService:
    """A gRPC service that can be put on a server; each `servicer.py` has one as a constant.

    Attributes:
        name: the full name, such as "fashion.v1.EmbedderService".
        not_ready_reason: reason of the error that calls get until the service is ready, such as "MODEL_NOT_READY".
        add_to_server: the generated `add_…_to_server`.
        writes: names of the RPCs that write or work on a batch, whose default deadline is longer.
    """

    name: str
    not_ready_reason: str
    add_to_server: Callable[[Any, grpc.aio.Server], None]
    writes: frozenset[str] = frozenset()


class Registry(grpc.GenericRpcHandler):
    """Finds the method of a call; a service without a servicer is not ready."""

    def __init__(self, services: Sequence[GrpcService], layers: Sequence[Layer]) -> None:
        """Takes the services, and what is around every method, the innermost first."""
        self._layers = layers
        self._methods: dict[str, Handler] = {}
        self._names = {service.name for service in services}
        for service in services:
            refusal: Handler = grpc.unary_unary_rpc_method_handler(_refusal(service.not_ready_reason))
            rpcs = (rpc.rpartition("/") for rpc in RPCS)
            self._register(service.name, {rpc: refusal for name, _, rpc in rpcs if name == service.name})

    def put(self, service: GrpcService, servicer: object) -> None:
        """Gives a service its servicer."""
        if service.name not in self._names:
            raise ValueError(f"{service.name} is none of the services of this server")
        for method in [each for each in self._methods if each.startswith(f"/{service.name}/")]:
            del self._methods[method]
        self.add(lambda server: service.add_to_server(servicer, server))

    def add(self, add_to_server: Callable[[grpc.aio.Server], None]) -> None:
        """Adds methods; takes the generated `add_…_to_server` with its servicer."""
        # It asks for a server, but only registers its methods with it.
        add_to_server(cast(grpc.aio.Server, self))

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """Does nothing: the generated code calls it with the methods of `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Adds the methods of a service; the generated code calls it."""
        self._register(service_name, method_handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Returns the method of a call; gRPC calls it."""
        return self._methods.get(handler_call_details.method)

    def _register(self, name: str, handlers: Mapping[str, Handler]) -> None:
        for rpc, handler in handlers.items():
            method = f"/{name}/{rpc}"
            self._methods[method] = reduce(lambda inner, layer: layer.surround(method, inner), self._layers, handler)


def _refusal(reason: str) -> Callable[[Any, Any], Any]:
    async def refuse(request: object, context: object) -> NoReturn:
        raise NotReady("The service is still starting; try again in a few seconds.", reason=reason)

    return refuse
