"""ResNet50 on TensorFlow, with random weights, which need the same arithmetic as trained ones."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import DataLoss, InvalidInput, NotReady
from services.embedder.encoder import Encoder
from services.embedder.garment_heads import GarmentHeads
from services.vision import Frame
from tests.conformance.encoder import EncoderConformance, drawing
from tests.support.random_resnet import HEIGHT, WIDTH, too_large

SHIPPED = Path(__file__).parents[4] / "models" / "fashion-resnet50"


@pytest.fixture(scope="module")
def tensorflow_encoder(bundle: Bundle) -> Encoder:
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    return TensorflowEncoder.from_bundle(bundle)


class TestTensorflowEncoder(EncoderConformance):
    """The conformance suite, and tests of TensorFlow alone."""

    @pytest.fixture
    def encoder(self, tensorflow_encoder: Encoder) -> Encoder:
        return tensorflow_encoder

    def test_half_precision_weights_give_nearly_the_same_embeddings(
        self, encoder: Encoder, weights: dict[str, NDArray[np.float32]], bundle: Bundle
    ) -> None:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        exact = TensorflowEncoder(weights, bundle.preprocessing, name="exact", model_version="exact")
        batch = np.stack([drawing(HEIGHT, WIDTH, (200, 20, 20)), drawing(HEIGHT, WIDTH, (20, 90, 20), 5)])
        assert (encoder.encode(batch) * exact.encode(batch)).sum(axis=1).min() >= 0.9999

    def test_the_model_is_the_bundles(self, encoder: Encoder, bundle: Bundle) -> None:
        assert encoder.model.model_version == load_bundle(bundle.path).model_version
        assert encoder.frame == Frame(HEIGHT, WIDTH)
        assert encoder.model.dimension == 2048

    def test_weights_of_another_network_are_refused(
        self, weights: dict[str, NDArray[np.float32]], bundle: Bundle
    ) -> None:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        lacking = {name: value for name, value in weights.items() if name != "conv1_conv/kernel"}
        with pytest.raises(InvalidInput, match="conv1_conv/kernel"):
            TensorflowEncoder(lacking, bundle.preprocessing, name="x", model_version="x")

    @pytest.mark.parametrize("factor", [1e25, 1e38], ids=["the norm overflows", "the activations overflow"])
    def test_weights_too_large_to_compute_with_are_refused(
        self, weights: dict[str, NDArray[np.float32]], bundle: Bundle, factor: float
    ) -> None:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        large = too_large(weights, factor)
        encoder = TensorflowEncoder(large, bundle.preprocessing, name="x", model_version="x")
        with pytest.raises(DataLoss, match="not finite"):
            next(encoder.warm_up())

    @pytest.mark.parametrize("name", ["turn", "cells"])
    def test_heads_too_large_to_compute_with_are_refused(self, name: str) -> None:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        shipped = load_bundle(SHIPPED)
        heads = GarmentHeads.of(shipped)
        assert heads is not None
        encoder = TensorflowEncoder(
            shipped.encoder_weights(),
            shipped.preprocessing,
            name="x",
            model_version="x",
            heads=replace(heads, weights={**heads.weights, name: np.full_like(heads.weights[name], 3e38)}),
        )
        with pytest.raises(DataLoss, match="not finite"):
            next(encoder.warm_up())

    def test_imagenet_weights_that_are_not_there_say_what_to_do(self, tmp_path: Path) -> None:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        with pytest.raises(NotReady, match="EMBEDDER_BUNDLE"):
            TensorflowEncoder.imagenet(tmp_path / "none.h5")

    def test_code_in_a_file_of_weights_is_not_executed(self, tmp_path: Path) -> None:
        import keras

        from services.embedder.runtimes.tensorflow import TensorflowEncoder

        canary, file = tmp_path / "canary", tmp_path / "model.h5"

        pixels = keras.Input((32, 32, 3))
        folder = str(canary)
        # Keras writes the code of a lambda alone into the file.
        harm = keras.layers.Lambda(
            lambda x: __import__("os").makedirs(folder, exist_ok=True) or x,
            output_shape=(32, 32, 3),
        )
        keras.Model(pixels, harm(pixels)).save(file)
        shutil.rmtree(canary, ignore_errors=True)
        with pytest.raises(NotReady, match="cannot be loaded"):
            TensorflowEncoder.imagenet(file)
        assert not canary.exists()
        # The canary sings where somebody does load the model of the file.
        keras.models.load_model(file, safe_mode=False)(np.zeros((1, 32, 32, 3), dtype=np.float32))
        assert canary.is_dir()
