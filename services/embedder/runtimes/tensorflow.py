"""A bundle's network on TensorFlow: Keras's ResNet50 without its top, in float32; the reference for all runtimes."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.contract.errors import InvalidInput, NotReady
from services.contract.values import ModelInfo
from services.embedder.encoder import (
    Features,
    check_architecture,
    check_batch,
    check_dimension,
    normalise,
)
from services.embedder.garment_heads import GarmentHeads
from services.vision.preprocess import Frame, Preprocessing

# "caffe" in keras.applications: BGR minus the means of ImageNet.
IMAGENET_PREPROCESSING: Final = Preprocessing(
    Frame(224, 224), channels="BGR", scale=1.0, offset=(-103.939, -116.779, -123.68)
)
_DIMENSION: Final = 2048
_WARM_BATCH: Final = 8
# The last layers of the stages 3, 4 and 5.
_MAPPED_LAYERS: Final = ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out")


class TensorflowEncoder:
    """ResNet50 with global max pooling; thread-safe."""

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float32]],
        preprocessing: Preprocessing,
        *,
        name: str,
        model_version: str,
        threads: int | None = None,
        heads: GarmentHeads | None = None,
        maps: bool = False,
    ) -> None:
        """Builds the network.

        Args:
            weights: weights of ResNet50 without its top, by Keras's names.
            preprocessing: the input that the network expects.
            name: name of the model.
            model_version: version of the model.
            threads: threads of an inference, the same for all encoders of a process; all processors where not given.
            heads: the heads that read the maps of the last stages.
            maps: whether `features` returns the maps where there are no heads too.

        Raises:
            InvalidInput: the weights are not those of a ResNet50.
            NotReady: TensorFlow already runs in this process with another number of threads.
        """
        _set_threads(threads)
        network = _build(preprocessing)
        _assign(network, weights)
        mapped = [network.get_layer(name).output for name in _MAPPED_LAYERS] if maps or heads else []
        self._network = keras.Model(network.input, [network.output, *mapped])
        self._preprocessing = preprocessing
        self._heads = heads
        self._frame = preprocessing.frame
        self._model = ModelInfo(
            name=name,
            model_version=model_version,
            dimension=_DIMENSION,
            input_height=preprocessing.frame.height,
            input_width=preprocessing.frame.width,
            runtime="tensorflow",
            precision="float32",
            reference_precision="float32",
        )
        shape = (None, preprocessing.frame.height, preprocessing.frame.width, 3)
        self._run = tf.function(self._outputs, input_signature=[tf.TensorSpec(shape, tf.uint8)])

    @classmethod
    def from_bundle(cls, bundle: Bundle, threads: int | None = None, maps: bool = False) -> Self:
        """Loads a bundle; `maps` as in the constructor.

        Raises:
            InvalidInput: BUNDLE_INVALID; the bundle holds another network, or its file was changed.
            NotReady: TensorFlow already runs in this process with another number of threads.
        """
        check_architecture(bundle, "resnet50")
        check_dimension(bundle, _DIMENSION)
        return cls(
            bundle.encoder_weights(),
            bundle.preprocessing,
            name=bundle.name,
            model_version=bundle.model_version,
            threads=threads,
            heads=GarmentHeads.of(bundle),
            maps=maps,
        )

    @classmethod
    def imagenet(cls, weights: Path | None = None, threads: int | None = None) -> Self:
        """Loads the weights of keras.applications, trained on ImageNet and not on fashion.

        Args:
            weights: path of `resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5`; downloaded (94 MB) where not given.
            threads: see the constructor.

        Raises:
            NotReady: the weights can be neither read nor downloaded.
        """
        _set_threads(threads)
        try:
            network = keras.applications.ResNet50(
                include_top=False, weights=str(weights) if weights else "imagenet", pooling="max"
            )
        # Keras passes on any error of the network or the file system.
        except Exception as error:
            raise NotReady(
                f"The ImageNet weights of ResNet50 cannot be loaded ({error}). Without internet access, set "
                "EMBEDDER_BUNDLE to models/fashion-resnet50, which is shipped, or to the path of "
                "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 from the Keras releases.",
                reason="WEIGHTS_UNAVAILABLE",
            ) from error
        values = {weight.path: np.asarray(weight.value) for weight in network.weights}
        digest = hashlib.sha256()
        for path in sorted(values):
            digest.update(path.encode())
            digest.update(values[path].tobytes())
        return cls(
            values,
            IMAGENET_PREPROCESSING,
            name="imagenet-resnet50",
            model_version=digest.hexdigest()[:16],
            threads=threads,
        )

    @property
    def frame(self) -> Frame:
        """The bundle's input."""
        return self._frame

    @property
    def model(self) -> ModelInfo:
        """The model."""
        return self._model

    @property
    def garment_heads(self) -> GarmentHeads | None:
        """The bundle's."""
        return self._heads

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds pictures; see `Encoder.encode`."""
        return self.features(batch).embeddings

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        """Embeds pictures; see `Encoder.features`."""
        check_batch(batch, self.frame)
        if not len(batch):
            return Features(np.zeros((0, self._model.dimension), dtype=np.float32))
        activations, *maps = (output.numpy() for output in self._run(tf.constant(batch)))
        return Features(normalise(activations), tuple(maps))

    def warm_up(self) -> Iterator[None]:
        """Traces the graph, and makes oneDNN plan its convolutions for each size of a service's small batches."""
        height, width = self.frame.height, self.frame.width
        for count in range(1, _WARM_BATCH + 1):
            features = self.features(np.full((count, height, width, 3), 255, dtype=np.uint8))
            if self._heads is not None:
                self._heads.see(features.maps)
            yield

    def _outputs(self, pixels: tf.Tensor) -> list[tf.Tensor]:
        scaled = tf.cast(pixels, tf.float32)
        if self._preprocessing.channels == "BGR":
            scaled = scaled[..., ::-1]
        scaled = scaled * self._preprocessing.scale + tf.constant(self._preprocessing.offset, tf.float32)
        # Keras returns a single output without its list.
        outputs: list[tf.Tensor] = keras.tree.flatten(self._network(scaled, training=False))
        return outputs


def _set_threads(threads: int | None) -> None:
    count = threads or 0
    if tf.config.threading.get_intra_op_parallelism_threads() == count:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1 if count == 1 else 0)
    except RuntimeError as error:
        raise NotReady(
            "TensorFlow already runs in this process with another number of threads.", reason="THREADS_FIXED"
        ) from error


def _build(preprocessing: Preprocessing) -> Any:
    return keras.applications.ResNet50(
        include_top=False,
        weights=None,
        pooling="max",
        input_shape=(preprocessing.frame.height, preprocessing.frame.width, 3),
    )


def _assign(network: Any, weights: Mapping[str, NDArray[np.float32]]) -> None:
    expected = {weight.path: weight for weight in network.weights}
    wrong = sorted(
        {name for name in expected if name not in weights or weights[name].shape != tuple(expected[name].shape)}
        | (weights.keys() - expected.keys())
    )
    if wrong:
        raise InvalidInput(
            f"These are not the weights of ResNet50 without its top; wrong: {', '.join(wrong[:3])}.",
            reason="WEIGHTS_INVALID",
            metadata={"weights": ",".join(wrong[:10])},
        )
    for name, weight in expected.items():
        weight.assign(weights[name])
