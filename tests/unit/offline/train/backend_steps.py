"""Ten steps of training on a tiny set, on the backend that KERAS_BACKEND names; a test runs it as a script."""

import sys
from pathlib import Path

import keras
import numpy as np

from offline.dataset.row import Row
from offline.train.config import HEADS, OWN_TYPE, TrainConfig
from offline.train.data import Batches, Pictures, label_names, studio_examples
from offline.train.model import DIMENSION, Recogniser, embed, optimiser, values_of

_STEPS = 10
_COUNT = 12
_HEIGHT, _WIDTH = 40, 32
_LOSSES = ("loss", "articleType_loss", "words_loss", "similarity_loss", "projection_loss", "anchor_loss")


def main(path: Path) -> None:
    """Writes the losses of each step, and the embeddings and averaged weights after the last, as a `.npz`."""
    random = np.random.default_rng(5)
    rows = tuple(
        Row(
            str(at),
            "Men",
            "Apparel",
            f"Kind {at % 3}",
            f"Type {at % 4}",
            "Blue",
            None,
            None,
            None,
            "word" if at % 2 else "other",
        )
        for at in range(_COUNT)
    )
    pixels = random.integers(0, 256, (_COUNT, _HEIGHT, _WIDTH, 3), dtype=np.uint8)
    teacher = random.random((_COUNT, 6)).astype(np.float16)
    # The teacher never saw one of them, another has no anchor, and a third leaves its article type open.
    teacher[0] = 0
    anchor = random.random((_COUNT, DIMENSION)).astype(np.float16)
    anchor[1] = 0
    names = label_names(rows) | {OWN_TYPE: ("a", "b")}
    examples = studio_examples(Pictures(rows, pixels), names, ("word", "other"), teacher=teacher, anchor=anchor)
    examples.labels["articleType"][2] = True
    batch = Batches(examples, batch=_COUNT, seed=1).at(0, _HEIGHT, _WIDTH)
    # Half of them count as photographs.
    batch.targets["studio"][::2] = 0.0
    config = TrainConfig(
        dataset=path, run=path, passes=1.0, peak=0.001, batch=_COUNT, initial="a bundle", anchor_weight=1.0
    )
    model = Recogniser(config, names, words=2, centre=teacher[1:].astype(np.float32).mean(axis=0), altered=False)
    weights = values_of({weight.path: weight for weight in model.backbone.weights})
    for name, value in weights.items():
        # Each backend draws its first weights in its own way.
        if value.ndim == 4:
            deviation = np.sqrt(2.0 / np.prod(value.shape[:-1]))
            weights[name] = random.normal(0.0, deviation, value.shape).astype(np.float32)
        # Blocks that add little keep rounding from growing from layer to layer.
        if name.endswith("_3_bn/gamma"):
            weights[name] = np.full(value.shape, 0.2, dtype=np.float32)
    model.begin_with(weights, {})
    model.compile(optimizer=optimiser(config, model), jit_compile=keras.config.backend() == "jax")
    losses = []
    for _ in range(_STEPS):
        figures = model.train_on_batch(dict(batch.inputs), dict(batch.targets), return_dict=True)
        losses.append([float(figures[name]) for name in _LOSSES])
        model.reset_metrics()
    if keras.config.backend() == "jax":
        model.jax_state_sync()
    embeddings = embed(model.backbone, pixels)
    model.optimizer.put_averages(model.trainable_variables)
    averages = values_of(model.named())[f"heads/{HEADS[1]}"]
    np.savez(path, losses=np.array(losses), embeddings=embeddings, averages=averages)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
