"""A caller that changes the model of a running search."""

import time

import grpc

from fashion.v1 import reindex_pb2, reindex_pb2_grpc, types_pb2
from tests.support.small_shop import SHAPES, photograph

BUILDING = reindex_pb2.GENERATION_STATUS_BUILDING
READY = reindex_pb2.GENERATION_STATUS_READY
REFUSED = reindex_pb2.GENERATION_STATUS_REFUSED
PREVIOUS = reindex_pb2.GENERATION_STATUS_PREVIOUS


class Operator:
    """Calls ReindexService."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = reindex_pb2_grpc.ReindexServiceStub(channel)

    def start(self, bundle: str = "", *, timeout_s: float = 60, **request: object) -> reindex_pb2.Reindex:
        """Calls StartReindex."""
        return self._stub.StartReindex(
            reindex_pb2.StartReindexRequest(bundle=bundle, **request), timeout=timeout_s
        ).reindex

    def state(self) -> reindex_pb2.Reindex:
        """Calls GetReindex."""
        return self._stub.GetReindex(reindex_pb2.GetReindexRequest(), timeout=20).reindex

    def switch(self, *, force: bool = False) -> reindex_pb2.Reindex:
        """Calls SwitchGeneration."""
        return self._stub.SwitchGeneration(reindex_pb2.SwitchGenerationRequest(force=force), timeout=20).reindex

    def rollback(self, *, force: bool = False) -> reindex_pb2.Reindex:
        """Calls RollbackGeneration."""
        return self._stub.RollbackGeneration(reindex_pb2.RollbackGenerationRequest(force=force), timeout=20).reindex

    def timed_rollback(self) -> float:
        """Calls RollbackGeneration; returns how long it takes, in seconds."""
        begun = time.monotonic()
        self.rollback()
        return time.monotonic() - begun

    def end(self, *, force: bool = False) -> reindex_pb2.Reindex:
        """Calls EndReindex."""
        return self._stub.EndReindex(reindex_pb2.EndReindexRequest(force=force), timeout=20).reindex

    def until(self, status: int, *, loaded: bool = True, timeout_s: float = 60) -> reindex_pb2.Reindex:
        """Waits until the generation beside the live one is so."""
        end = time.monotonic() + timeout_s
        while True:
            state = self.state()
            if state.other.status == status and (state.other.loaded or not loaded):
                return state
            assert time.monotonic() < end, f"It is not so in time: {state}"
            time.sleep(0.05)


def canaries() -> list[reindex_pb2.Canary]:
    """A photograph of each type of the small shop, and what it must find."""
    return [
        reindex_pb2.Canary(name=kind, image=types_pb2.Image(content=photograph(kind, "Red", 12)), expected_types=[kind])
        for kind in SHAPES
    ]
