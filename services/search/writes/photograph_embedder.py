"""Has photographs embedded that are to be written, a few at a time, so that queries find room between them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.contract.embedding import check_served_model
from services.contract.errors import DeadlineExceeded, FashionError, Unavailable
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Photograph


@dataclass(frozen=True, slots=True)
class EmbeddedPhotographs:
    """What became of some photographs.

    Attributes:
        results: one embedding or error a photograph, in their order.
        seconds: how long the embedder was waited for. Calls that wait for it at the same time share that time between
            them, so that the sum over calls is the time in which something was being embedded.
    """

    results: tuple[Embedding | FashionError, ...]
    seconds: float


class _Share:
    """The time that one call has been charged with."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


class WriteEmbedder:
    """Embeds the photographs of writes in small groups.

    Whole uploads would fill the embedder's queue, and every query would wait behind them.
    """

    def __init__(
        self,
        embedder: Embedder,
        model_version: str,
        *,
        group_size: int,
        groups_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the way to an embedder.

        Args:
            embedder: who embeds.
            model_version: what its embeddings must be of.
            group_size: photographs handed over at once, at least 1.
            groups_in_flight: groups handed over at the same time, by all writes together, at least 1.
            clock: seconds.
        """
        self._embedder = embedder
        self._model_version = model_version
        self._group_size = group_size
        self._slots = asyncio.Semaphore(groups_in_flight)
        self._clock = clock
        self._active: list[_Share] = []
        self._charged_until = 0.0

    async def embed(self, photographs: Sequence[Photograph]) -> EmbeddedPhotographs:
        """Embeds photographs.

        Raises:
            Unavailable: the embedder does not answer, or serves another model than the catalogue is searched with
                (EMBEDDER_UNAVAILABLE).
            Overloaded: its queue is full (QUEUE_FULL).
            DeadlineExceeded: there was no time left for some of them.
        """
        share = _Share()
        results: list[Embedding | FashionError] = []
        for start in range(0, len(photographs), self._group_size):
            results += await self._group(photographs[start : start + self._group_size], share)
        return EmbeddedPhotographs(tuple(results), share.seconds)

    async def _group(self, photographs: Sequence[Photograph], share: _Share) -> Sequence[Embedding | FashionError]:
        async with self._slots:
            self._charge()
            self._active.append(share)
            try:
                results = await self._embedder.embed_batch(photographs)
            finally:
                self._charge()
                self._active.remove(share)
        for result in results:
            # These say nothing about the photograph: the same row may be fine a moment later.
            if isinstance(result, Unavailable | DeadlineExceeded):
                raise result
            if isinstance(result, Embedding):
                check_served_model(result, self._model_version)
        return results

    def _charge(self) -> None:
        now = self._clock()
        for share in self._active:
            share.seconds += (now - self._charged_until) / len(self._active)
        self._charged_until = now
