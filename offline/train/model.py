"""The network that is trained: Keras's ResNet50 without its top, heads on its normalised embedding, and one loss."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from offline.train.augment import Alteration
from offline.train.config import TrainConfig
from offline.train.losses import (
    Tensor,
    cosine_distance,
    mean_of,
    normalised,
    set_cross_entropy,
    similarity_divergence,
    words_cross_entropy,
)
from services.contract.errors import NotReady
from services.embedder.encoder import normalise
from services.vision.preprocess import Frame, Padding, Preprocessing

DIMENSION: Final = 2048
# White becomes 0, so the zeros that convolutions pad with continue the white that products stand on.
SCALE: Final = 1.0 / 127.5
OFFSET: Final = -2.0
# Batch normalisation remembers statistics with this momentum.
_BN_MOMENTUM: Final = 0.97
_BATCH: Final = 128
# Averaged weights forget where training began: in the first steps they average the last twentieth of them.
_AVERAGED_SHARE: Final = 20.0
_WORDS: Final = "words"
_PROJECTION: Final = "projection"


def preprocessing(height: int, width: int) -> Preprocessing:
    """Returns what a model trained here expects."""
    return Preprocessing(Frame(height, width, Padding.RIM), "RGB", SCALE, (OFFSET, OFFSET, OFFSET))


def build_backbone(
    weights: Mapping[str, NDArray[np.float32]] | None = None, bn_momentum: float = _BN_MOMENTUM
) -> keras.Model:
    """Builds ResNet50 exactly as `keras.applications` defines it, for pictures of any size.

    Its inputs are scaled pixels (n, height, width, 3), its outputs (n, 2048), the largest activations. The biases of
    its convolutions are not trained: batch normalisation takes any bias away again.

    Args:
        weights: by Keras's names; random if not given.
        bn_momentum: of the statistics of batch normalisation.
    """
    backbone = keras.applications.ResNet50(include_top=False, weights=None, pooling="max")
    if _uses_tensorflow_on_processor():
        # Imported here: other backends run without TensorFlow.
        from offline.train.layers import faster

        backbone = keras.models.clone_model(backbone, clone_function=faster)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = bn_momentum
        elif isinstance(layer, keras.layers.Conv2D):
            layer.bias.trainable = False
    if weights is not None:
        put_weights(backbone, weights)
    return backbone


def put_weights(backbone: keras.Model, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Gives a backbone weights, by Keras's names."""
    for weight in backbone.weights:
        weight.assign(weights[weight.path])


def _uses_tensorflow_on_processor() -> bool:
    return bool(keras.config.backend() == "tensorflow" and keras.config.dtype_policy().name == "float32" and not gpus())


def gpus() -> int:
    """Returns the number of GPUs that the backend of Keras computes on."""
    match keras.config.backend():
        case "torch":
            import torch

            return int(torch.cuda.device_count())
        case "jax":
            import jax

            return sum(device.platform == "gpu" for device in jax.devices())
        case _:
            import tensorflow as tf

            return len(tf.config.list_physical_devices("GPU"))


def fuse_bfloat16(enabled: bool) -> bool:
    """Lets oneDNN compute convolutions in bfloat16, which is faster than layers that do, or stops it.

    Returns:
        Whether there is oneDNN to do it: TensorFlow on a processor.
    """
    if keras.config.backend() != "tensorflow" or gpus():
        return False
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": enabled})
    return True


def imagenet_weights() -> dict[str, NDArray[np.float32]]:
    """Returns ImageNet's weights for the same architecture, by Keras's names; downloads them if they are not cached.

    Raises:
        NotReady: they can neither be found nor downloaded.
    """
    try:
        network = keras.applications.ResNet50(include_top=False, weights="imagenet", pooling="max")
    # Keras lets whatever the network or the file system raised through.
    except Exception as error:
        raise NotReady(
            "The ImageNet weights of ResNet50 cannot be downloaded; begin from scratch or from a bundle. "
            f"The reason: {error}",
            reason="WEIGHTS_UNAVAILABLE",
        ) from error
    return values_of({weight.path: weight for weight in network.weights})


def values_of(variables: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns copies of the values of variables."""
    return {name: np.array(ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def embed(backbone: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns embeddings (n, 2048), float32, L2-normalised, of pictures (n, height, width, 3), uint8."""
    rows = []
    for start in range(0, len(pixels), _BATCH):
        piece = pixels[start : start + _BATCH].astype(np.float32) * np.float32(SCALE) + np.float32(OFFSET)
        missing = _BATCH - len(piece) if len(pixels) > _BATCH else 0
        # One shape is compiled for all batches.
        padded = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)]) if missing else piece
        rows.append(np.asarray(backbone.predict_on_batch(padded)).astype(np.float32)[: len(piece)])
    return normalise(np.concatenate(rows))


class Recogniser(keras.Model):  # type: ignore[misc]
    """Backbone and heads, trained by `fit` on the inputs and targets of `Batch`.

    Attributes:
        backbone: scaled pixels in, (n, 2048) activations out.
        directions: weights (2048, labels) of each head, and of what serves training alone.
    """

    def __init__(
        self,
        config: TrainConfig,
        names: Mapping[str, Sequence[str]],
        *,
        words: int = 0,
        centre: NDArray[np.float32] | None = None,
        altered: bool = True,
    ) -> None:
        """Builds the network and its directions.

        Args:
            config: weights, margins and scale of the losses.
            names: labels by head, those of `HEADS` and others that serve training alone.
            words: size of the vocabulary; 0 if no words are learned.
            centre: mean of the teacher's features, (features,); None without a teacher.
            altered: whether pictures are altered in training.
        """
        super().__init__()
        keras.utils.set_random_seed(config.seed)
        self._config = config
        self._heads = tuple(names)
        self.backbone = build_backbone()
        for layer in self.backbone.layers[: config.frozen_layers]:
            layer.trainable = False
        self.alteration = Alteration(config.seed, photographed=config.photographs is not None) if altered else None
        sizes = {head: len(labels) for head, labels in names.items()}
        if words and config.words_weight:
            sizes[_WORDS] = words
        if centre is not None:
            sizes[_PROJECTION] = len(centre)
        self._centre = centre
        random = np.random.default_rng((config.seed, 3))
        self.directions = {}
        for name, size in sizes.items():
            values = random.normal(0.0, DIMENSION**-0.5, (DIMENSION, size)).astype(np.float32)
            self.directions[name] = self.add_weight(shape=values.shape, dtype="float32", name=f"heads_{name}")
            self.directions[name].assign(values)
        losses = [f"{name}_loss" for name in (*names, "words", "similarity", "projection", "anchor")]
        self._means = {name: keras.metrics.Mean(name=name) for name in (*losses, *names)}
        self.built = True

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Returns activations of pictures, float32 (n, 2048); in training, of altered pictures."""
        pixels = ops.cast(inputs["pixels"], "float32")
        if training and self.alteration is not None:
            pixels, studio, backdrops = (
                self._sized(ops.cast(inputs[name], "float32")) for name in ("pixels", "studio", "backdrops")
            )
            pixels = self.alteration(pixels, studio, backdrops)
        return ops.cast(self.backbone(pixels * SCALE + OFFSET, training=training), "float32")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Returns the weighted sum of all losses.

        Args:
            x: not read.
            y: the targets of `Batch`.
            y_pred: activations (n, 2048).
            sample_weight: not read.
            training: not read.
        """
        config = self._config
        targets = {name: self._sized(ops.convert_to_tensor(values)) for name, values in y.items()}
        activations = self._sized(y_pred)
        embeddings = normalised(activations)
        cosine = config.softmax == "cosine"
        scale = config.logit_scale if cosine else 1.0

        def products(name: str) -> Tensor:
            directions = ops.convert_to_tensor(self.directions[name])
            return ops.matmul(embeddings, normalised(directions, axis=0)) if cosine else activations @ directions

        studio = targets["studio"]
        terms = []
        for head in self._heads:
            margin = config.margins.get(head, 0.0)
            losses, right, known = set_cross_entropy(
                products(head), targets[head], scale=scale, margin=margin, smoothing=config.label_smoothing
            )
            # Photographs count as much as studio shots, however few of them a batch has.
            loss = mean_of(losses, known * studio) + mean_of(losses, known * (1.0 - studio))
            terms.append((f"{head}_loss", config.weight_of(head), loss))
            self._means[head].update_state(mean_of(right, known))
        if _WORDS in self.directions:
            loss = words_cross_entropy(products(_WORDS), targets["words"], scale=scale)
            terms.append(("words_loss", config.words_weight, loss))
        if self._centre is not None:
            teacher = targets["teacher"]
            loss = similarity_divergence(
                embeddings,
                teacher,
                studio,
                temperature=config.temperature,
                teacher_temperature=config.teacher_temperature,
            )
            terms.append(("similarity_loss", config.similarity_weight, loss))
            projected = ops.matmul(embeddings, ops.convert_to_tensor(self.directions[_PROJECTION]))
            loss = cosine_distance(projected, teacher, ops.convert_to_tensor(self._centre))
            terms.append(("projection_loss", config.projection_weight, loss))
        if targets["anchor"].shape[-1]:
            terms.append(("anchor_loss", config.anchor_weight, cosine_distance(embeddings, targets["anchor"])))
        for name, _, loss in terms:
            self._means[name].update_state(loss)
        return sum(weight * loss for _, weight, loss in terms)

    def _sized(self, values: Tensor) -> Tensor:
        """Returns the same with its first dimension known: each batch of a run has as many examples."""
        return ops.reshape(values, (self._config.batch, *values.shape[1:]))

    def named(self) -> dict[str, Any]:
        """Returns the weights: those of the backbone by Keras's paths, directions as "heads/NAME"."""
        return {
            **{weight.path: weight for weight in self.backbone.weights},
            **{f"heads/{name}": weight for name, weight in self.directions.items()},
        }

    def variables_by_name(self) -> dict[str, Any]:
        """Returns all that a resumed run needs: weights, the state of the optimiser and that of chance."""
        chance = self.alteration.variables if self.alteration is not None else []
        return {
            **self.named(),
            **{f"chance/{at}": variable for at, variable in enumerate(chance)},
            **{f"optimiser/{at}": variable for at, variable in enumerate(self.optimizer.variables)},
        }

    def begin_with(self, backbone: Mapping[str, NDArray[np.float32]], heads: Mapping[str, NDArray[np.float32]]) -> None:
        """Starts from given weights instead of random ones.

        Args:
            backbone: by Keras's names, all or none.
            heads: directions (labels, 2048), NaN rows where there is none.
        """
        if backbone:
            put_weights(self.backbone, backbone)
        for head, rows in heads.items():
            known = np.isfinite(rows).all(axis=1)
            values = np.array(ops.convert_to_numpy(self.directions[head]))
            values[:, known] = rows[known].T
            self.directions[head].assign(values)


class AveragedSgd(keras.optimizers.SGD):  # type: ignore[misc]
    """SGD with Nesterov momentum and averaged weights, which `fit` leaves beside those that it trains."""

    def finalize_variable_values(self, var_list: Any) -> None:
        """Does nothing: Keras would end each `fit` with the averages in place of the weights to go on from."""

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        steps = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema_momentum, steps / (steps + _AVERAGED_SHARE))
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable)

    def put_averages(self, variables: Sequence[Any]) -> None:
        """Puts the averages in place of the weights; does nothing before the first step."""
        if int(ops.convert_to_numpy(self.iterations)):
            self._overwrite_model_variables_with_average_value(variables)


def optimiser(config: TrainConfig, model: Recogniser) -> AveragedSgd:
    """Returns the optimiser of a network; weight decay concerns the kernels of convolutions alone."""
    # Keras takes the decay off the weights. As a gradient it would add up with the momentum, as published recipes do.
    decay = config.weight_decay / (1.0 - config.momentum)
    chosen = AveragedSgd(
        config.peak,
        momentum=config.momentum,
        nesterov=True,
        weight_decay=decay or None,
        use_ema=True,
        ema_momentum=config.ema_decay,
    )
    if decay:
        chosen.exclude_from_weight_decay(var_list=[each for each in model.trainable_variables if len(each.shape) != 4])
    chosen.build(model.trainable_variables)
    return chosen
