"""The losses of training in `keras.ops`, so that each backend of Keras computes the same."""

from typing import Any, Final

from keras import ops

# A tensor of the backend that Keras runs on.
Tensor = Any

# Keeps an embedding of nothing but zeros at zero instead of dividing by zero.
EPSILON: Final = 1e-12
# Far below any logit, and finite: the difference of two infinities is not a number.
_NEVER: Final = -1e9


def normalised(values: Tensor, axis: int = -1) -> Tensor:
    """Divides by the L2 norm along an axis; zeros stay zeros."""
    squares = ops.sum(ops.square(values), axis=axis, keepdims=True)
    return values * ops.rsqrt(ops.maximum(squares, EPSILON))


def mean_of(values: Tensor, known: Tensor) -> Tensor:
    """Returns the mean of the known entries; 0 if there are none."""
    return ops.sum(values * known) / ops.maximum(ops.sum(known), 1.0)


def set_cross_entropy(
    products: Tensor, allowed: Tensor, *, scale: float, margin: float, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed cross entropy of a softmax, each example's label being any one of a set.

    The margin is taken off the allowed labels' cosines (Wang et al. 2018, CosFace). So a product has to lie closer to
    its own label than what merely decides the softmax: tighter groups, better neighbours.

    Args:
        products: float32 (n, labels), cosines, or activations if no cosines are learned.
        allowed: float32 (n, labels), 1 for each label that is right; a row of zeros has no known label.
        scale: factor on the products before the softmax.
        margin: in cosines.
        smoothing: share of the target that is spread over all labels, in [0, 1).

    Returns:
        Of each example the loss, whether the answer is right, and whether a label is known: float32 (n,) each.
    """
    log_probabilities = ops.log_softmax(scale * (products - margin * allowed), axis=-1)
    right = -ops.logsumexp(ops.where(allowed > 0, log_probabilities, _NEVER), axis=-1)
    uniform = -ops.mean(log_probabilities, axis=-1)
    answers = ops.one_hot(ops.argmax(products, axis=-1), products.shape[-1], dtype="float32")
    known = ops.max(allowed, axis=-1)
    return (1.0 - smoothing) * right + smoothing * uniform, ops.sum(answers * allowed, axis=-1), known


def words_cross_entropy(products: Tensor, words: Tensor, *, scale: float) -> Tensor:
    """Cross entropy of the softmax over all words with the words of a name (Joulin et al. 2016).

    Args:
        products: float32 (n, vocabulary).
        words: int32 (n, m), negative where a name has no more words.
        scale: factor on the products before the softmax.
    """
    log_probabilities = ops.log_softmax(scale * products, axis=-1)
    of_words = ops.take_along_axis(log_probabilities, ops.maximum(words, 0), axis=-1)
    return -mean_of(of_words, ops.cast(words >= 0, "float32"))


def similarity_divergence(
    embeddings: Tensor, teacher: Tensor, studio: Tensor, *, temperature: float, teacher_temperature: float
) -> Tensor:
    """Distance of the order of the similarities within a batch from a teacher's.

    The Kullback-Leibler divergence of the softmax of each example's similarities to all others (Park et al. 2019,
    relational knowledge distillation; Tejankar et al. 2021, ISD). Where a batch has photographs, studio shots are
    compared with those alone: among themselves, labels and anchor tell them apart better than the teacher does.

    Args:
        embeddings: float32 (n, dimension), L2-normalised.
        teacher: float32 (n, features), a row of zeros where the teacher's features are unknown.
        studio: float32 (n,), 1 for a studio shot, 0 for a photograph.
        temperature: of the embeddings' similarities.
        teacher_temperature: of the teacher's.
    """
    known = _known(teacher)
    among_studio = studio[:, None] * studio[None, :] * ops.max(1.0 - studio)
    hidden = _NEVER * (ops.eye(known.shape[0]) + (1.0 - known)[None, :] + among_studio)

    def log_softmax(features: Tensor, divisor: float) -> Tensor:
        return ops.log_softmax(ops.matmul(features, ops.transpose(features)) / divisor + hidden, axis=-1)

    target, answer = log_softmax(normalised(teacher), teacher_temperature), log_softmax(embeddings, temperature)
    return mean_of(ops.sum(ops.exp(target) * (target - answer), axis=-1), known)


def cosine_distance(values: Tensor, targets: Tensor, centre: Tensor | float = 0.0) -> Tensor:
    """One minus the cosine, on average over the examples with a target.

    Args:
        values: float32 (n, d).
        targets: float32 (n, d), a row of zeros where there is none.
        centre: float32 (d,), taken off the targets.
    """
    cosines = ops.sum(normalised(values) * normalised(targets - centre), axis=-1)
    return mean_of(1.0 - cosines, _known(targets))


def _known(rows: Tensor) -> Tensor:
    """Returns 1 for each row that is not all zeros: float32 (n,)."""
    return ops.cast(ops.any(rows != 0, axis=-1), "float32")
