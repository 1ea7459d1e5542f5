"""One layer around the methods of a server."""

from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Layer:
    """Surrounds methods; passes streams."""

    def surround(self, method: str, handler: Handler) -> Handler:
        """Returns a method with this around it.

        Args:
            method: its full name, such as "/fashion.v1.SearchService/FindSimilar".
            handler: the method.
        """
        if handler.unary_unary is not None:
            return self.surround_unary(method, handler)
        return self.surround_stream(method, handler)

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method with one request and one response."""
        return handler

    def surround_stream(self, method: str, handler: Handler) -> Handler:
        """Surrounds any other."""
        return handler
