"""The client of ReindexService, which search offers to operators."""

from typing import Self

import grpc

from fashion.v1 import reindex_pb2, reindex_pb2_grpc
from services.clients.search import SearchClient, SearchTimeouts


class ReindexClient(SearchClient):
    """A client of search that also changes its model. Each method raises the errors of its RPC, as categories.

    What changes something is asked once: a second rollback would undo the first.
    """

    def __init__(self, channel: grpc.aio.Channel, target: str, timeouts: SearchTimeouts | None = None) -> None:
        """Makes a client; see `SearchClient`."""
        super().__init__(channel, target, timeouts)
        self._operations = reindex_pb2_grpc.ReindexServiceStub(channel)

    async def start(self, request: reindex_pb2.StartReindexRequest) -> reindex_pb2.Reindex:
        """Begins the next generation."""
        return (await self._write(self._operations.StartReindex, request, repeatable=False)).reindex

    async def state(self) -> reindex_pb2.Reindex:
        """Returns which generations there are."""
        return (await self._query(self._operations.GetReindex, reindex_pb2.GetReindexRequest())).reindex

    async def switch(self, *, force: bool) -> reindex_pb2.Reindex:
        """Makes the next generation live."""
        request = reindex_pb2.SwitchGenerationRequest(force=force)
        return (await self._write(self._operations.SwitchGeneration, request, repeatable=False)).reindex

    async def rollback(self, *, force: bool) -> reindex_pb2.Reindex:
        """Goes back to the previous generation."""
        request = reindex_pb2.RollbackGenerationRequest(force=force)
        return (await self._write(self._operations.RollbackGeneration, request, repeatable=False)).reindex

    async def end(self, *, force: bool) -> reindex_pb2.Reindex:
        """Forgets the generation beside the live one."""
        request = reindex_pb2.EndReindexRequest(force=force)
        return (await self._write(self._operations.EndReindex, request, repeatable=False)).reindex

    async def __aenter__(self) -> Self:
        return self
