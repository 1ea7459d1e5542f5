"""Keeps the measure of doubt up to date in the background, and stores it between starts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from services.bundle.derived_file import DerivedFile
from services.contract.embedding import renormalised
from services.contract.errors import FashionError
from services.contract.protocols import Classifier, EmbeddingSpace
from services.contract.values import Embedding
from services.search.candidates.doubt import Doubt, measured, sample
from services.search.indexes.base import Index
from services.search.writes.generation import Change

FILE: Final = "doubt.safetensors"
_FORMAT: Final = "fashion-doubt-1"
# The pause after each product, so that queries beside the measuring hardly wait: 20 s for a full sample.
_PAUSE_S: Final = 0.02
# How many times as long as a measure took it rests: a catalogue that changes all the time takes a tenth of its time.
_REST: Final = 9

_log = structlog.stdlib.get_logger(__name__)


class DoubtMeter:
    """Measures doubt once the catalogue has changed enough; `note` may be called in any thread."""

    def __init__(
        self,
        index: Index,
        classifier: Classifier,
        space: EmbeddingSpace,
        directory: Path,
        *,
        candidates_version: Callable[[], str],
        changed_share: float,
        period_s: float,
    ) -> None:
        """Takes the parts.

        Args:
            index: the products.
            classifier: recognises them.
            space: the model of their embeddings.
            directory: the data directory, for the file between starts.
            candidates_version: returns the version of the candidates that the classifier should know.
            changed_share: doubt is measured again once this share of the products was created, changed or deleted.
            period_s: how often to look whether it is, in seconds.
        """
        self._index = index
        self._classifier = classifier
        self._space = space
        self._file = DerivedFile(directory / FILE, format=_FORMAT, model_version=space.model_version)
        self._candidates_version = candidates_version
        self._changed_share = changed_share
        self._period_s = period_s
        self._changes = 0
        self._current: Doubt | None = None
        self._stored: int | None = None
        self._measured = False

    @property
    def current(self) -> Doubt | None:
        """What was measured last; None before that, and in an empty catalogue."""
        return self._current

    @property
    def measured(self) -> bool:
        """Whether it was measured, or read from the file."""
        return self._measured

    def note(self, changes: Sequence[Change]) -> None:
        """Counts changes that the index has taken over."""
        self._changes += len(changes)

    def begin(self) -> None:
        """Reads the file, if it is of this version of the catalogue."""
        version = self._index.index_version
        self._current = self._file.read(lambda tensors, _: Doubt.from_tensors(tensors), {str(version)})
        self._measured = self._current is not None
        self._stored = version if self._measured else None

    def keep(self) -> None:
        """Stores the measure for the next start, unless the file has it for this version of the catalogue."""
        version = self._index.index_version
        if self._measured and self._current is not None and version != self._stored:
            self._file.write(self._current.tensors(), {}, str(version))
            self._stored = version

    async def run(self) -> None:
        """Measures whenever it is due, until it is cancelled."""
        while True:
            began = time.monotonic()
            try:
                # In a thread, because it waits for a write to the index.
                if await asyncio.to_thread(lambda: self.due) and await self.measure():
                    await asyncio.to_thread(self.keep)
            except FashionError as error:
                _log.info("doubt cannot be measured now; trying again", reason=error.reason, why=error.message)
            except Exception:
                _log.exception("doubt could not be measured")
            await asyncio.sleep(max(self._period_s, _REST * (time.monotonic() - began)))

    @property
    def due(self) -> bool:
        """Whether it was never measured, or enough has changed since."""
        count = sum(self._index.searchable_types().values())
        return not self._measured or self._changes >= max(1.0, self._changed_share * count)

    async def measure(self) -> bool:
        """Measures now.

        Returns:
            Whether it was measured. A classifier that does not know the candidates of its begin, or later ones, is
            asked again later.

        Raises:
            FashionError: the classifier does not answer.
        """
        changes = self._changes
        # Under steady writes candidates change more often than a sample is measured.
        known = {self._candidates_version()}
        confidences: list[float] = []
        similarities: list[float] = []
        for product, stored in await asyncio.to_thread(lambda: list(sample(self._index))):
            embedding = Embedding(renormalised(stored), self._space.model_version)
            classification = await self._classifier.classify(embedding, 1)
            known.add(self._candidates_version())
            if classification.candidates_version not in known:
                return False
            confidence, nearest = await asyncio.to_thread(measured, self._index, product, embedding, classification)
            confidences += [] if confidence is None else [confidence]
            similarities += [] if nearest is None else [nearest]
            await asyncio.sleep(_PAUSE_S)
        self._current = Doubt.of(np.array(confidences), np.array(similarities))
        self._changes -= changes
        self._measured = True
        self._stored = None
        if self._current is not None:
            _log.info("doubt measured", unsure_below=round(self._current.unsure_below, 3), products=len(similarities))
        return True
