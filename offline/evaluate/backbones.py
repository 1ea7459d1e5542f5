"""A comparison with networks of keras.applications and ImageNet's weights, from which the report chose its own."""

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
from services.vision.preprocess import Frame

_PICTURES_AT_ONCE: Final = 16
_TIMED_RUNS: Final = 7

# The networks that the report compared, with the side in pixels that their weights were trained on.
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
    """The figures of one network.

    Attributes:
        name: the network's name.
        side: the side of a picture, in pixels.
        parameters: the number of its weights.
        dimension: floats in an embedding.
        milliseconds: median time per picture in TensorFlow float32, in ms.
        all_right: the share of queries whose ten results are all of their gender and article type; None where its
            weights cannot be downloaded.
        unavailable: why they cannot; empty where they can.
    """

    name: str
    side: int
    parameters: int
    dimension: int
    milliseconds: float
    all_right: float | None
    unavailable: str


def measure_bundle(encoder: Encoder, queries: ProductTable, catalogue: ProductTable) -> BackboneRow:
    """Measures the bundle that is served, a ResNet50, for the same table."""
    model = encoder.model
    picture = np.full((1, model.input_height, model.input_width, 3), 255, dtype=np.uint8)
    milliseconds = _median_ms(lambda: encoder.encode(picture))
    results = nearest(unit(queries.embeddings), unit(catalogue.embeddings), TOP_K)
    name = f"{model.name} ({model.runtime}, {model.precision})"
    return BackboneRow(
        name, model.input_height, 23_587_712, model.dimension, milliseconds, _all_right(results, queries, catalogue), ""
    )


def compare_backbones(
    names: Sequence[str],
    queries: tuple[Dataset, ProductTable],
    catalogue: tuple[Dataset, ProductTable],
    tell: Callable[[BackboneRow], None],
    weights: str = "imagenet",
) -> list[BackboneRow]:
    """Measures each network; one without weights to download has a time, but no result.

    Args:
        names: keys of `BACKBONES`.
        queries: the photographs and the products to ask for; the table's embeddings do not count.
        catalogue: the same for the products to search.
        tell: takes each row as it is ready.
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
    # Keras passes on any exception of the network or the file system.
    except Exception as error:
        unavailable = f"its weights cannot be downloaded: {str(error).splitlines()[0][:80]}"
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
        # Results of random weights would mean nothing.
        return row
    preprocess = getattr(keras.applications, _MODULES[name]).preprocess_input
    of_queries, of_catalogue = (_embed(run, preprocess, *each, side) for each in (queries, catalogue))
    results = nearest(of_queries, of_catalogue, TOP_K)
    return replace(row, all_right=_all_right(results, queries[1], catalogue[1]))


def _all_right(results: NDArray[np.int64], queries: ProductTable, catalogue: ProductTable) -> float:
    right, _ = right_results(queries.derived_types, catalogue.derived_types, results)
    return float(all_right(right, results).mean())


def _median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1000)


def _embed(
    run: Callable[[Any], Any], preprocess: Callable[[Any], Any], dataset: Dataset, table: ProductTable, side: int
) -> NDArray[np.float32]:
    embeddings = []
    for start in range(0, len(table), _PICTURES_AT_ONCE):
        ids = table.ids[start : start + _PICTURES_AT_ONCE]
        pixels = np.stack([_square(dataset.photograph(one), side) for one in ids]).astype(np.float32)
        embeddings.append(normalise(np.asarray(run(tf.constant(preprocess(pixels))))))
    return np.concatenate(embeddings)


def _square(content: bytes, side: int) -> NDArray[np.uint8]:
    """Stretches a photograph to a square, without padding, as the report did."""
    picture = Image.fromarray(prepare(content, Frame(side * 4 // 3, side)))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
