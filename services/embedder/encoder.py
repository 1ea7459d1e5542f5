"""The interface of every runtime: pixels in, embeddings out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.contract.errors import InvalidInput
from services.contract.values import ModelInfo
from services.embedder.finite import check_finite
from services.embedder.garment_heads import GarmentHeads, HeadLogits
from services.vision.preprocess import Frame

Precision = Literal["float32", "bfloat16", "int8"]
# "auto" is the fastest on this processor among those near enough to float32.
AnyPrecision = Literal["auto"] | Precision

_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What one inference computes.

    Attributes:
        embeddings: (n, dimension), float32, L2-normalised rows.
        maps: the activations of the last stages, the largest map first, each float32 (n, rows, columns, channels);
            empty where the encoder was loaded without maps.
        logits: those of the garment heads, where the runtime computes them; they follow from the maps otherwise.
    """

    embeddings: NDArray[np.float32]
    maps: tuple[NDArray[np.float32], ...] = ()
    logits: HeadLogits | None = None


class Encoder(Protocol):
    """Turns pixels into embeddings; thread-safe."""

    @property
    def model(self) -> ModelInfo:
        """The model."""
        ...

    @property
    def frame(self) -> Frame:
        """The input that it expects."""
        ...

    @property
    def garment_heads(self) -> GarmentHeads | None:
        """The heads of garments and turns; None for a model that has none."""
        ...

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds pictures.

        Args:
            batch: (n, frame.height, frame.width, 3), uint8, RGB, as `services.vision.prepare` gives them; n may be 0.

        Returns:
            (n, dimension), float32, L2-normalised rows; each row depends on its picture alone.

        Raises:
            InvalidInput: BATCH_INVALID; the batch has another shape or type.
            DataLoss: WEIGHTS_INVALID; the weights are so large that what they compute is not finite.
        """
        ...

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        """Embeds pictures, and returns the maps or the heads' logits of the same inference; see `encode`.

        Args:
            batch: as for `encode`.
            crowded: whether others need the processors too, so that little processor time counts more than a soon
                answer; a runtime may ignore it.
        """
        ...

    def warm_up(self) -> Iterator[None]:
        """Does the slow work of first calls in advance, such as compiling, step by step.

        Each thread that encodes takes the first step; after it a single picture takes no longer than ever. The further
        steps are for several pictures at once, and one of the threads takes them for all.
        """
        ...


def normalise(activations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales rows to L2 norm 1.

    A row of zeros has no direction. It becomes the vector of equal entries, 1 / sqrt(dimension), so that every
    embedding has norm 1 and no similarity is NaN.

    Args:
        activations: (n, dimension).

    Returns:
        The same shape, float32.

    Raises:
        DataLoss: WEIGHTS_INVALID; a norm is not finite.
    """
    values = activations.astype(np.float32, copy=False)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    check_finite(norms)
    even = np.float32(values.shape[1] ** -0.5) if values.shape[1] else np.float32(0.0)
    result: NDArray[np.float32] = np.where(norms > _TINY, values / np.maximum(norms, np.float32(_TINY)), even)
    return result


def check_architecture(bundle: Bundle, architecture: str) -> None:
    """Refuses a bundle of another network than a runtime runs.

    Raises:
        InvalidInput: BUNDLE_INVALID.
    """
    if bundle.architecture != architecture:
        raise InvalidInput(
            f"The bundle {bundle.name!r} holds the network {bundle.architecture!r}; this runtime runs {architecture}.",
            reason="BUNDLE_INVALID",
            metadata={"field": "architecture"},
        )


def check_dimension(bundle: Bundle, dimension: int) -> None:
    """Refuses a bundle whose network has another dimension than its description, and so its heads, say.

    Raises:
        InvalidInput: BUNDLE_INVALID.
    """
    if bundle.dimension != dimension:
        raise InvalidInput(
            f"The bundle {bundle.name!r} says that an embedding has {bundle.dimension} floats; its network gives "
            f"{dimension}.",
            reason="BUNDLE_INVALID",
            metadata={"field": "dimension"},
        )


def check_batch(batch: NDArray[np.uint8], frame: Frame) -> None:
    """Refuses a batch of another shape or type than the input.

    Raises:
        InvalidInput: BATCH_INVALID.
    """
    expected = (frame.height, frame.width, 3)
    if batch.ndim != 4 or batch.shape[1:] != expected or batch.dtype != np.uint8:
        raise InvalidInput(
            f"The batch is {batch.dtype} {batch.shape} instead of uint8 (n, {expected[0]}, {expected[1]}, 3).",
            reason="BATCH_INVALID",
        )
