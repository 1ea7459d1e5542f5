"""Compares networks of keras.applications, with ImageNet's weights and untrained, as the report chose its own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.rows import Dataset
from offline.evaluate.products import ProductTable
from offline.evaluate.served import unit
from offline.measure.metrics import TOP_K, all_right, right_results
from offline.measure.neighbours import nearest
from services.embedder.encoder import Encoder, normalise
from services.vision import prepare

_AT_A_TIME: Final = 16
_TIMED: Final = 7

# The report's candidates, with the side of the pictures that their weights were trained on.
BACKBONES: Final[dict[str, int]] = {
    "InceptionV3": 299,
    "Xception": 299,
    "NASNetLarge": 331,
    "InceptionResNetV2": 299,
    "ResNet50": 224,
    "ResNet50V2": 224,
    "ResNet152": 224,
}
_MODULES: Final = {
    "InceptionV3": "inception_v3",
    "Xception": "xception",
    "NASNetLarge": "nasnet",
    "InceptionResNetV2": "inception_resnet_v2",
    "ResNet50": "resnet50",
    "ResNet50V2": "resnet_v2",
    "ResNet152": "resnet",
}


@dataclass(frozen=True, slots=True)
class BackboneRow:
    """One network.

    Attributes:
        name: of the network.
        side: pixels of a picture's side.
        parameters: how many numbers it has.
        dimension: floats in an embedding.
        milliseconds: median time of one picture in TensorFlow float32, in ms.
        all_right: share of queries whose ten results are all of their gender and article type; None where its weights
            cannot be had.
        unavailable: why not; empty where they can.
    """

    name: str
    side: int
    parameters: int
    dimension: int
    milliseconds: float
    all_right: float | None
    unavailable: str


def measure_bundle(encoder: Encoder, queries: ProductTable, catalogue: ProductTable) -> BackboneRow:
    """The bundle that is served, as a row of the same table; its size in parameters is that of ResNet50."""
    model = encoder.model
    picture = np.full((1, model.input_height, model.input_width, 3), 255, dtype=np.uint8)
    milliseconds = _median_ms(lambda: encoder.encode(picture))
    found = nearest(unit(queries.embeddings), unit(catalogue.embeddings), TOP_K)
    name = f"{model.name} ({model.runtime}, {model.precision})"
    return BackboneRow(
        name, model.input_height, 23_587_712, model.dimension, milliseconds, _all_right(found, queries, catalogue), ""
    )


def compare_backbones(
    names: Sequence[str],
    queries: tuple[Dataset, ProductTable],
    catalogue: tuple[Dataset, ProductTable],
    tell: Callable[[BackboneRow], None],
    weights: str = "imagenet",
) -> list[BackboneRow]:
    """Measures each network; one whose weights cannot be had is timed, and says so.

    Args:
        names: of `BACKBONES`.
        queries: where their photographs are, and which products; the embeddings in the table do not count.
        catalogue: the same of what is searched.
        tell: told each row once it is known.
        weights: "imagenet".
    """
    rows = []
    for name in names:
        row = _measure(name, queries, catalogue, weights)
        tell(row)
        rows.append(row)
        keras.backend.clear_session()
    return rows


def _measure(
    name: str, queries: tuple[Dataset, ProductTable], catalogue: tuple[Dataset, ProductTable], weights: str
) -> BackboneRow:
    side, make = BACKBONES[name], getattr(keras.applications, name)
    shape = (side, side, 3)
    unavailable = ""
    try:
        network = make(include_top=False, weights=weights, pooling="max", input_shape=shape)
    # Keras lets whatever the network or the file system raised through.
    except Exception as error:
        unavailable = f"weights cannot be downloaded: {str(error).splitlines()[0][:80]}"
        network = make(include_top=False, weights=None, pooling="max", input_shape=shape)
    run = tf.function(lambda pixels: network(pixels, training=False))
    picture = tf.zeros((1, *shape))
    row = BackboneRow(
        name=name,
        side=side,
        parameters=network.count_params(),
        dimension=int(network.output_shape[1]),
        milliseconds=_median_ms(lambda: run(picture).numpy()),
        all_right=None,
        unavailable=unavailable,
    )
    if unavailable:
        # What an untrained network finds is nobody's result.
        return row
    preprocess = getattr(keras.applications, _MODULES[name]).preprocess_input
    asked, answered = (_embed(run, preprocess, *one, side) for one in (queries, catalogue))
    found = nearest(asked, answered, TOP_K)
    return replace(row, all_right=_all_right(found, queries[1], catalogue[1]))


def _all_right(found: NDArray[np.int64], queries: ProductTable, catalogue: ProductTable) -> float:
    right, _ = right_results(queries.derived_types, catalogue.derived_types, found)
    return float(all_right(right, found).mean())


def _median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1000)


def _embed(
    run: Callable[[Any], Any], preprocess: Callable[[Any], Any], dataset: Dataset, table: ProductTable, side: int
) -> NDArray[np.float32]:
    found = []
    for start in range(0, len(table), _AT_A_TIME):
        ids = table.ids[start : start + _AT_A_TIME]
        pixels = np.stack([_square(dataset.photograph(one), side) for one in ids]).astype(np.float32)
        found.append(normalise(np.asarray(run(tf.constant(preprocess(pixels))))))
    return np.concatenate(found)


def _square(content: bytes, side: int) -> NDArray[np.uint8]:
    """Stretched to a square, as the report did: nothing is padded."""
    picture = Image.fromarray(prepare(content, side * 4 // 3, side))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
