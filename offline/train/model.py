"""The network that is trained: Keras's ResNet50 without its top, and heads on its normalised embedding."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from offline.train.config import HEADS
from offline.train.data import UNKNOWN
from offline.train.layers import faster
from services.contract.errors import NotReady
from services.vision import Preprocessing
from services.vision.preprocess import Frame

DIMENSION: Final = 2048
# White becomes 0, so the zeros that convolutions pad with continue the white that products stand on.
SCALE: Final = 1.0 / 127.5
OFFSET: Final = -2.0
_WORDS: Final = "heads/words"
# Keeps an embedding of nothing but zeros at zero instead of dividing by zero.
EPSILON: Final = 1e-12


def preprocessing(height: int, width: int) -> Preprocessing:
    """What a model trained here expects."""
    return Preprocessing(Frame(height, width), "RGB", SCALE, (OFFSET, OFFSET, OFFSET))


def build_backbone(bn_momentum: float = 0.97) -> keras.Model:
    """ResNet50 exactly as `keras.applications` defines it, untrained, for pictures of any size.

    Its inputs are scaled pixels (n, height, width, 3), its outputs (n, 2048), the largest activations.
    """
    original = keras.applications.ResNet50(include_top=False, weights=None, pooling="max")
    return keras.models.clone_model(original, clone_function=lambda layer: faster(layer, bn_momentum))


def build_imagenet() -> dict[str, NDArray[np.float32]]:
    """The weights of ImageNet for the same architecture, by Keras's names; downloaded where they are not cached.

    Raises:
        NotReady: they can neither be found nor downloaded.
    """
    try:
        network = keras.applications.ResNet50(include_top=False, weights="imagenet", pooling="max")
    # Keras lets whatever the network or the file system raised through.
    except Exception as error:
        raise NotReady(
            f"the ImageNet weights of ResNet50 cannot be downloaded ({error}); begin from scratch or from a bundle",
            reason="WEIGHTS_UNAVAILABLE",
        ) from error
    return {weight.path: np.asarray(weight.value) for weight in network.weights}


class Network:
    """Backbone, heads and the state of their optimiser.

    Attributes:
        backbone: scaled pixels in, (n, 2048) activations out.
        heads: weights (2048, labels) of each head.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]],
        *,
        logit_scale: float,
        label_smoothing: float,
        margins: Mapping[str, float],
        head_weights: Mapping[str, float],
        words: int,
        words_weight: float,
        momentum: float,
        weight_decay: float,
        ema_decay: float,
        softmax: Literal["cosine", "linear"],
        frozen_layers: int,
        seed: int,
    ) -> None:
        keras.utils.set_random_seed(seed)
        self.backbone = build_backbone()
        for layer in self.backbone.layers[:frozen_layers]:
            layer.trainable = False
        random = np.random.default_rng((seed, 3))
        self.heads = {
            head: tf.Variable(
                random.normal(0.0, DIMENSION**-0.5, (DIMENSION, len(names[head]))).astype(np.float32),
                name=head,
            )
            for head in HEADS
        }
        # Of each word of the products' names; they serve training alone.
        self._words = tf.Variable(random.normal(0.0, DIMENSION**-0.5, (DIMENSION, words)).astype(np.float32))
        self._words_weight = words_weight if words else 0.0
        self._logit_scale = logit_scale
        self._label_smoothing = label_smoothing
        self._margins = dict(margins)
        self._cosine = softmax == "cosine"
        self._head_weights = dict(head_weights)
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._ema_decay = ema_decay
        heads = {f"heads/{head}": variable for head, variable in self.heads.items()}
        if self._words_weight:
            heads[_WORDS] = self._words
        self._trainable = {**{weight.path: weight.value for weight in self.backbone.trainable_weights}, **heads}
        self._all = {**{weight.path: weight.value for weight in self.backbone.weights}, **heads}
        self._velocity = {name: tf.Variable(tf.zeros_like(v)) for name, v in self._trainable.items()}
        self._average = {name: tf.Variable(v) for name, v in self._all.items()}
        self._step = tf.function(self._train_step, reduce_retracing=False)
        self._embed = tf.function(self._inference, reduce_retracing=False)
        self._blend = tf.function(self._blend_average)
        self._steps_blended = 0

    def train_step(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int32], words: NDArray[np.int32], rate: float
    ) -> NDArray[np.float32]:
        """One step of SGD with Nesterov momentum.

        Args:
            pixels: (n, height, width, 3), uint8, RGB.
            labels: (n, heads), int32, `UNKNOWN` where there is none.
            words: (n, m), int32, those of each name, `UNKNOWN` where there are no more.
            rate: learning rate.

        Returns:
            Each head's cross entropy, then each head's share of right answers, then the cross entropy of the words:
            (2 * heads + 1,), float32.
        """
        result: NDArray[np.float32] = self._step(
            tf.constant(pixels), tf.constant(labels), tf.constant(words), tf.constant(rate, tf.float32)
        ).numpy()
        return result

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, 2048), float32, L2-normalised, by the weights that are in place."""
        result: NDArray[np.float32] = self._embed(tf.constant(pixels)).numpy()
        return result

    def update_average(self, steps: int) -> None:
        """Blend the weights into their moving average; call it every `steps` steps."""
        self._steps_blended += steps
        # Early on the average is short, so that it forgets where training began.
        decay = min(self._ema_decay, self._steps_blended / (self._steps_blended + 20.0))
        self._blend(tf.constant(decay**steps, tf.float32))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The weights in place, by name."""
        return {name: variable.numpy() for name, variable in self._all.items()}

    def set_weights(self, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Put weights in place."""
        for name, variable in self._all.items():
            variable.assign(values[name])

    def average(self) -> dict[str, NDArray[np.float32]]:
        """The averaged weights, by name."""
        return {name: variable.numpy() for name, variable in self._average.items()}

    def begin_with(self, backbone: Mapping[str, NDArray[np.float32]], heads: Mapping[str, NDArray[np.float32]]) -> None:
        """Start from given weights instead of chance; the average starts from them, too.

        Args:
            backbone: by Keras's names, all or none.
            heads: directions (labels, 2048), NaN rows where there is none.
        """
        values = self.weights() | dict(backbone)
        for head, rows in heads.items():
            known = np.isfinite(rows).all(axis=1)
            values[f"heads/{head}"][:, known] = rows[known].T
        self.set_weights(values)
        for name, variable in self._average.items():
            variable.assign(values[name])

    def state(self) -> dict[str, NDArray[np.float32]]:
        """All that a resumed run needs, by name."""
        return {
            **{f"weights/{name}": value for name, value in self.weights().items()},
            **{f"average/{name}": value for name, value in self.average().items()},
            **{f"velocity/{name}": variable.numpy() for name, variable in self._velocity.items()},
            "average_steps": np.array([self._steps_blended], dtype=np.float32),
        }

    def restore(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Take up the state of an earlier run."""
        self.set_weights({name: state[f"weights/{name}"] for name in self._all})
        for name, variable in self._average.items():
            variable.assign(state[f"average/{name}"])
        for name, variable in self._velocity.items():
            variable.assign(state[f"velocity/{name}"])
        self._steps_blended = int(state["average_steps"][0])

    def _train_step(self, pixels: tf.Tensor, labels: tf.Tensor, words: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        names = list(self._trainable)
        variables = [self._trainable[name] for name in names]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            activations = self._activations(pixels, training=True)
            features = _normalised(activations) if self._cosine else activations
            losses, hits = [], []
            for column, head in enumerate(HEADS):
                margin = self._margins.get(head, 0.0)
                loss, hit = self._head_loss(features, self.heads[head], labels[:, column], margin)
                losses.append(loss)
                hits.append(hit)
            total = tf.add_n([loss * self._head_weights[head] for loss, head in zip(losses, HEADS, strict=True)])
            told = tf.constant(0.0)
            if self._words_weight:
                told = self._words_loss(features, words)
                total += self._words_weight * told
        gradients = tape.gradient(total, variables)
        for name, variable, gradient in zip(names, variables, gradients, strict=True):
            if gradient is None:
                continue
            if len(variable.shape) == 4:
                gradient = gradient + self._weight_decay * variable
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=self._velocity[name].handle,
                lr=rate,
                grad=gradient,
                momentum=self._momentum,
                use_nesterov=True,
            )
        return tf.stack([*losses, *hits, told])

    def _head_loss(
        self, features: tf.Tensor, weights: tf.Variable, labels: tf.Tensor, margin: float
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed cross entropy of the softmax, over the products that have a label.

        The margin is taken off the right label's cosine (Wang et al. 2018, CosFace), so that a product has to lie
        closer to its own label than what merely decides the softmax: tighter groups, better neighbours.
        """
        directions, scale = tf.convert_to_tensor(weights), 1.0
        if self._cosine:
            directions, scale = tf.math.l2_normalize(directions, axis=0), self._logit_scale
        products = tf.linalg.matmul(features, directions)
        logits = scale * products
        known = tf.cast(tf.not_equal(labels, UNKNOWN), tf.float32)
        targets = tf.maximum(labels, 0)
        log_probabilities = tf.nn.log_softmax(
            scale * (products - margin * tf.one_hot(targets, tf.shape(products)[1])) if margin else logits
        )
        right = -tf.gather(log_probabilities, targets, batch_dims=1)
        uniform = -tf.reduce_mean(log_probabilities, axis=-1)
        loss = (1.0 - self._label_smoothing) * right + self._label_smoothing * uniform
        hit = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels), tf.float32)
        count = tf.maximum(tf.reduce_sum(known), 1.0)
        return tf.reduce_sum(loss * known) / count, tf.reduce_sum(hit * known) / count

    def _words_loss(self, features: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """Cross entropy of the softmax over all words with those of a name (Joulin et al. 2016)."""
        directions, scale = tf.convert_to_tensor(self._words), 1.0
        if self._cosine:
            directions, scale = tf.math.l2_normalize(directions, axis=0), self._logit_scale
        log_probabilities = tf.nn.log_softmax(scale * tf.linalg.matmul(features, directions))
        known = tf.cast(tf.not_equal(words, UNKNOWN), tf.float32)
        of_words = tf.gather(log_probabilities, tf.maximum(words, 0), batch_dims=1) * known
        return -tf.reduce_sum(of_words) / tf.maximum(tf.reduce_sum(known), 1.0)

    def _activations(self, pixels: tf.Tensor, *, training: bool) -> tf.Tensor:
        scaled = tf.cast(pixels, tf.float32) * SCALE + OFFSET
        return tf.cast(self.backbone(scaled, training=training), tf.float32)

    def _inference(self, pixels: tf.Tensor) -> tf.Tensor:
        return _normalised(self._activations(pixels, training=False))

    def _blend_average(self, decay: tf.Tensor) -> None:
        for name, variable in self._all.items():
            average = self._average[name]
            average.assign(average * decay + variable * (1.0 - decay))


def _normalised(activations: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(activations, axis=-1, epsilon=EPSILON)
