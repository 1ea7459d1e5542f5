"""An encoder without weights, for tests: deterministic, with similar embeddings for similar pictures."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.contract.values import ModelInfo
from services.embedder.encoder import Features, check_batch, normalise
from services.vision.preprocess import Frame

_ROWS: Final = 10
_COLUMNS: Final = 8


class FakeEncoder:
    """Projects a coarse version of the pixels with a fixed random matrix.

    Args:
        dimension: floats in an embedding.
        height: rows of the input.
        width: columns of the input.
        seed: seed of the matrix; each seed is another model.
    """

    def __init__(self, dimension: int = 2048, height: int = 80, width: int = 60, seed: int = 0) -> None:
        features = _ROWS * _COLUMNS * 3 + 1
        random = np.random.default_rng(seed)
        self._projection = random.standard_normal((features, dimension)).astype(np.float32)
        self._model = ModelInfo(
            name="fake",
            model_version=f"fake-{dimension}-{height}x{width}-{seed}",
            dimension=dimension,
            input_height=height,
            input_width=width,
            runtime="fake",
            precision="float32",
            reference_precision="float32",
        )

    @property
    def frame(self) -> Frame:
        """Its input, padded with white."""
        return Frame(self._model.input_height, self._model.input_width)

    @property
    def model(self) -> ModelInfo:
        """The fake model."""
        return self._model

    @property
    def garment_heads(self) -> None:
        """None."""
        return

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds pictures; see `Encoder.encode`."""
        check_batch(batch, self.frame)
        embeddings = [self._encode_one(picture) for picture in batch]
        return np.stack(embeddings) if embeddings else np.zeros((0, self._model.dimension), dtype=np.float32)

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        """Embeds pictures; there are no maps."""
        return Features(self.encode(batch))

    def _encode_one(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        coarse = Image.fromarray(picture).resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
        # White is 0. The constant gives a white picture a direction.
        ink = 1.0 - np.asarray(coarse, dtype=np.float32).reshape(-1) / np.float32(255.0)
        features = np.append(ink, np.float32(0.5))
        embedding: NDArray[np.float32] = normalise((features @ self._projection)[None])[0]
        return embedding

    def warm_up(self) -> Iterator[None]:
        """Does nothing."""
        return iter(())
