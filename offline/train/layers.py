"""Keras's layers of ResNet50, with the same arithmetic in forms that train faster on a CPU."""

from collections.abc import Callable
from typing import Any, Final

import keras
import tensorflow as tf

# From so many channels on, the pictures are so small that matrix products over each tap beat oneDNN's own gradient.
_WIDE: Final = 256


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation that trains by TensorFlow's one fused operation.

    The same arithmetic as Keras's own, which takes a dozen operations for it: a step of ResNet50 on a CPU is a
    quarter faster. The variance that it remembers is the one without bias.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalises by the batch while training, by the moving statistics otherwise."""
        if not training or not self.trainable:
            return super().call(inputs, training=False)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma.value),
            offset=tf.convert_to_tensor(self.beta.value),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            exponential_avg_factor=1.0,
            is_training=True,
        )
        for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.value.assign(moving.value * self.momentum + seen * (1.0 - self.momentum))
        return normalised


class Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution whose bias is zero and stays so, computed in the form whose gradient is fastest on a CPU.

    Batch normalisation follows each convolution of ResNet50 and takes any bias away again
    (`offline.train.initial.without_biases`).
    """

    def call(self, inputs: Any) -> Any:
        """Convolves (n, height, width, channels)."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.kernel_size == (1, 1):
            return _pointwise(inputs if self.strides == (1, 1) else _every_other(inputs, *self.strides), kernel)
        wide = self.filters >= _WIDE and self.padding == "same"
        if wide and self.kernel_size == (3, 3) and self.strides == (1, 1):
            return _convolve_3x3(inputs, kernel)
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())


def _pointwise(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A 1 x 1 convolution as one product of matrices: oneDNN's gradient of the kernel takes several times as long."""
    size = tf.shape(inputs)
    _, _, channels, filters = kernel.shape
    product = tf.matmul(tf.reshape(inputs, [-1, channels]), tf.reshape(kernel, [channels, filters]))
    return tf.reshape(product, [size[0], size[1], size[2], filters])


def _every_other(inputs: tf.Tensor, down: int, right: int) -> tf.Tensor:
    """Every so many rows and columns; their gradient is spread by reshaping, which beats that of a strided slice."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def sliced(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            size = tf.shape(inputs)
            count, rows, columns, channels = (tf.shape(upstream)[axis] for axis in range(4))
            wide = tf.pad(
                upstream[:, :, None, :, None], [[0, 0], [0, 0], [0, down - 1], [0, 0], [0, right - 1], [0, 0]]
            )
            spread = tf.reshape(wide, [count, rows * down, columns * right, channels])
            return spread[:, : size[1], : size[2]]

        return inputs[:, ::down, ::right], gradient

    result: tf.Tensor = sliced(inputs)
    return result


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _convolve_3x3(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.shape(inputs)
        of_inputs = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=size, filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
        )
        _, _, channels, filters = kernel.shape
        height, width = size[1], size[2]
        padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        flat = tf.reshape(upstream, [-1, filters])
        taps = [
            tf.matmul(
                tf.reshape(padded[:, down : down + height, right : right + width], [-1, channels]),
                flat,
                transpose_a=True,
            )
            for down in range(3)
            for right in range(3)
        ]
        return of_inputs, tf.reshape(tf.stack(taps), kernel.shape)

    return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradient


def faster(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a new layer with another's settings, in the form that trains fastest."""
    settings = layer.get_config()
    match type(layer):
        case keras.layers.BatchNormalization:
            return FusedBatchNormalization.from_config(settings)
        case keras.layers.Conv2D:
            return Convolution.from_config(settings)
    return type(layer).from_config(settings)
