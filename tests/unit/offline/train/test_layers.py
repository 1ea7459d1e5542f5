"""The layers that train faster compute what Keras's own compute, forwards and backwards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from offline.train.initial import without_biases
from offline.train.layers import Convolution, FusedBatchNormalization, faster
from offline.train.model import build_backbone


def _trained(layer: keras.layers.Layer, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Output and the gradients of input and weights but biases, in training."""
    inputs = tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        upstream = np.random.default_rng(2).normal(size=outputs.shape).astype(np.float32)
        total = tf.reduce_sum(outputs * upstream)
    gradients = tape.gradient(total, [inputs, *(w.value for w in layer.trainable_weights if w.name != "bias")])
    return [each.numpy() for each in (outputs, *gradients)]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (keras.layers.Conv2D(24, 1), Convolution),
        (keras.layers.Conv2D(24, 1, strides=2), Convolution),
        (keras.layers.Conv2D(256, 3, padding="same"), Convolution),
        (keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.9), FusedBatchNormalization),
        (keras.layers.Conv2D(24, 3, padding="same"), Convolution),
        (keras.layers.Conv2D(256, 3, strides=2, padding="same"), Convolution),
    ],
    ids=["1 x 1", "1 x 1 with a stride", "wide 3 x 3", "batch normalisation", "narrow 3 x 3", "3 x 3 with a stride"],
)
@pytest.mark.parametrize(("height", "width"), [(5, 4), (4, 3), (1, 1)])
def test_a_layer_learns_the_same(layer: keras.layers.Layer, kind: type, height: int, width: int) -> None:
    layer = type(layer).from_config(layer.get_config())  # Built afresh: parameters of a test are made once.
    pixels = np.random.default_rng(1).normal(size=(6, height, width, 16)).astype(np.float32)
    fast = faster(layer)
    assert type(fast) is kind
    layer.build(pixels.shape)
    fast.build(pixels.shape)
    # Biases of convolutions stay at zero.
    moved = [weight if kind is Convolution and weight.ndim == 1 else weight + 0.1 for weight in layer.get_weights()]
    fast.set_weights(moved)
    layer.set_weights(fast.get_weights())
    for ours, theirs in zip(_trained(fast, pixels), _trained(layer, pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)


def test_a_network_without_biases_is_the_same_network() -> None:
    original = keras.applications.ResNet50(include_top=False, weights=None, pooling="max")
    random = np.random.default_rng(3)
    for weight in original.weights:
        if weight.path.endswith(("bias", "moving_mean")):
            weight.assign(random.normal(0.0, 0.3, weight.shape))
    weights = without_biases({weight.path: np.asarray(weight.value) for weight in original.weights})
    ours = build_backbone()
    for weight in ours.weights:
        weight.assign(weights[weight.path])
    assert not any(value.any() for name, value in weights.items() if name.endswith("_conv/bias"))
    pixels = random.normal(size=(2, 40, 32, 3)).astype(np.float32)
    expected = original(pixels, training=False).numpy()
    np.testing.assert_allclose(ours(pixels, training=False).numpy(), expected, rtol=1e-3, atol=1e-3 * expected.max())


def test_batch_normalisation_remembers_the_statistics_of_what_it_saw() -> None:
    pixels = np.random.default_rng(1).normal(size=(6, 5, 4, 16)).astype(np.float32)
    layer = faster(keras.layers.BatchNormalization(momentum=0.9))
    layer.build(pixels.shape)
    _trained(layer, pixels)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * pixels.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    # Unlike Keras's own, of the variance without bias.
    np.testing.assert_allclose(
        layer.moving_variance.numpy(), 0.9 + 0.1 * pixels.var(axis=(0, 1, 2), ddof=1), rtol=1e-4, atol=1e-6
    )
