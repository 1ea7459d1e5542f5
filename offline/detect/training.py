"""Trains the garment heads of a bundle on its network's own maps, and writes them into it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from offline.bundle import write_garment_heads
from offline.detect.examples import Example, Material
from offline.detect.network import build_cells, build_turns, cells_loss, exported_cells, exported_turns, targets
from offline.detect.pictures import read_pictures
from services.bundle.reader import ENCODER_FILE, Bundle, load_bundle
from services.embedder.garment_heads import GarmentHeads, overlap
from services.embedder.runtimes.openvino import OpenvinoEncoder

# At most this share of upright studio shots is turned; the threshold of the turns follows from it.
MAX_FALSE_TURNS: Final = 0.001
# At least this share of the boxes that are named is right; the threshold of garments follows from it.
MIN_PRECISION: Final = 0.85
# A threshold for turns below this would trust a coin.
_MIN_TURN_THRESHOLD: Final = 0.6
_BATCH: Final = 32
_RATE: Final = 2e-3
_SAME: Final = 0.5
_GARMENT_THRESHOLDS: Final = np.linspace(0.2, 0.9, 15)
_SCALED_BY: Final = 256

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is learned from; 10 minutes on two busy cores.

    Attributes:
        products: studio shots that examples are made of.
        garment_examples: pictures with boxes; none for a turn head alone.
        turn_examples: pictures with a known turn.
        garment_passes: passes over the pictures with boxes.
        turn_passes: passes over the pictures with a known turn.
        chunk: pictures made and kept at once; an interruption loses at most these.
        seed: seed of everything random.
    """

    products: int = 9000
    garment_examples: int = 7040
    turn_examples: int = 9600
    garment_passes: int = 4
    turn_passes: int = 7
    chunk: int = 640
    seed: int = 1


def train_garment_heads(
    folder: Path, dataset: Path, photographs: Path, run: Path, *, recipe: Recipe | None = None, say: Say
) -> Bundle:
    """Trains the heads of a bundle, and writes them into it; goes on where an earlier call stopped.

    The network stays as it is, bit for bit. The same bundle, data and recipe give the same heads.

    Args:
        folder: the bundle.
        dataset: studio shots in Kaggle's layout; those of the bundle's own training part are learned from.
        photographs: people's photographs in the same layout, with `labels.csv`; a fifth of the senders serves to choose
            the threshold alone.
        run: a folder for pictures' features; examples of the same data that are there are not made again.
        recipe: how much is learned from.
        say: takes lines for people.

    Returns:
        The bundle with its heads; its model version stays.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle or a data set cannot be used.
    """
    recipe = recipe or Recipe()
    bundle = load_bundle(folder)
    encoder = OpenvinoEncoder.from_bundle(bundle, maps=True)
    pictures = read_pictures(bundle, dataset, photographs, products=recipe.products, seed=recipe.seed)
    learned, held_out = pictures.learned, pictures.held_out
    for product_id, reason in pictures.unreadable:
        say(f"left out {product_id}: {reason}")
    if pictures.unreadable:
        say(f"{len(pictures.unreadable)} photographs cannot be read")
    say(f"{len(learned.studio)} studio shots and {len(learned.photographs)} photographs to learn from")
    place = run / _key(bundle, recipe, pictures.digest)
    place.mkdir(parents=True, exist_ok=True)
    tf.config.experimental.enable_op_determinism()

    turned = [
        _features(place / f"turns-{chunk:02}.npz", encoder, learned.with_turn, recipe, chunk)
        for chunk in range(recipe.turn_examples // recipe.chunk)
    ]
    say(f"{len(turned) * recipe.chunk} pictures with a known turn are ready")
    weights = dict(_fit_turns(turned, recipe, say))
    turns = GarmentHeads(weights, (), 1.0, 1.0)
    turn_threshold, figures = _turn_threshold(turns, encoder, held_out, recipe.seed)
    say(json.dumps({**figures, "turn_threshold": turn_threshold}))

    garments = [
        _features(place / f"garments-{chunk:02}.npz", encoder, learned.with_boxes, recipe, chunk)
        for chunk in range(recipe.garment_examples // recipe.chunk)
    ]
    garment_threshold = 1.0
    if garments:
        say(f"{len(garments) * recipe.chunk} pictures with boxes are ready")
        weights |= _fit_cells(garments, len(bundle.labels["subCategory"]), recipe, say)
        heads = GarmentHeads(weights, bundle.labels["subCategory"], 1.0, 0.0)
        unseen = _features(place / "garments-unseen.npz", encoder, held_out.with_boxes, recipe, len(garments))
        garment_threshold, recall, precision = _garment_threshold(heads, unseen)
        figures |= {"pictures": recipe.chunk, "recall": round(recall, 4), "precision": round(precision, 4)}
        say(json.dumps({**figures, "garment_threshold": garment_threshold}))
    return write_garment_heads(
        folder,
        weights,
        labels=bundle.labels["subCategory"],
        garment_threshold=garment_threshold,
        turn_threshold=turn_threshold,
        figures=figures,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Features:
    """Examples as the heads see them.

    Attributes:
        maps: of the stages 3, 4 and 5, float16; of stage 4 alone where only turns are learned.
        targets: (n, places, 7), float32.
        turns: (n,), int32.
    """

    maps: tuple[NDArray[np.float16], ...]
    targets: NDArray[np.float32]
    turns: NDArray[np.int32]


def _key(bundle: Bundle, recipe: Recipe, pictures: str) -> str:
    """Names the folder of features, by all that they depend on: network, photographs, and what is drawn of them."""
    network = bundle.description["files"][ENCODER_FILE]["sha256"], bundle.preprocessing
    known = f"{network} {pictures} {recipe.products, recipe.chunk, recipe.seed}"
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _features(
    file: Path,
    encoder: OpenvinoEncoder,
    make: Callable[[np.random.Generator], Example],
    recipe: Recipe,
    chunk: int,
) -> _Features:
    """Makes a chunk of examples and runs the network on them, or reads what an earlier call made."""
    if not file.is_file():
        random = np.random.default_rng((recipe.seed, 1 + chunk, "turns" in file.name))
        examples = [make(random) for _ in range(recipe.chunk)]
        found = [
            encoder.features(np.stack([each.pixels for each in examples[at : at + 64]])).maps
            for at in range(0, recipe.chunk, 64)
        ]
        stages = [np.concatenate(parts).astype(np.float16) for parts in zip(*found, strict=True)]
        rows, columns = stages[0].shape[1:3]
        if "turns" in file.name:
            stages = stages[1:2]
        fresh = file.with_name(f".new-{file.name}")
        np.savez(
            fresh,
            *stages,
            targets=np.stack([targets(each, rows, columns) for each in examples]),
            turns=np.array([each.turns for each in examples], dtype=np.int32),
        )
        fresh.rename(file)
    with np.load(file, allow_pickle=False) as kept:
        maps = tuple(kept[name] for name in sorted(kept.files) if name.startswith("arr_"))
        return _Features(maps, kept["targets"], kept["turns"])


def _fit_cells(chunks: Sequence[_Features], labels: int, recipe: Recipe, say: Say) -> Mapping[str, NDArray[np.float32]]:
    keras.utils.set_random_seed(recipe.seed)
    scales = tuple(_scale(part) for part in chunks[0].maps)
    shapes = tuple(each.shape[1:] for each in chunks[0].maps)
    model = build_cells(shapes, labels, scales)
    rows, columns = shapes[0][:2]
    inputs = [np.concatenate([chunk.maps[stage] for chunk in chunks]) for stage in range(len(shapes))]
    learned = np.concatenate([chunk.targets for chunk in chunks])
    _fit(model, inputs, learned, partial(cells_loss, rows, columns), recipe.garment_passes, "garments", say)
    return exported_cells(model, scales)


def _fit_turns(chunks: Sequence[_Features], recipe: Recipe, say: Say) -> Mapping[str, NDArray[np.float32]]:
    keras.utils.set_random_seed(recipe.seed)
    scale = _scale(chunks[0].maps[0])
    model = build_turns(chunks[0].maps[0].shape[1:], scale)
    inputs = np.concatenate([chunk.maps[0] for chunk in chunks])
    learned = np.concatenate([chunk.turns for chunk in chunks])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _fit(model, inputs, learned, loss, recipe.turn_passes, "turns", say)
    return exported_turns(model, scale)


def _scale(activations: NDArray[np.float16]) -> float:
    return float(1.0 / activations[:_SCALED_BY].astype(np.float32).std())


def _fit(model: keras.Model, inputs: Any, learned: Any, loss: Any, passes: int, name: str, say: Say) -> None:
    steps = passes * -(-len(learned) // _BATCH)
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    model.compile(optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-3), loss=loss)
    history = model.fit(inputs, learned, batch_size=_BATCH, epochs=passes, verbose=0).history["loss"]
    say(f"{name}: loss {', '.join(f'{value:.3f}' for value in history)}")


def _garment_threshold(heads: GarmentHeads, held_out: _Features) -> tuple[float, float, float]:
    """Returns the least threshold at which enough boxes are right, its recall and its precision, on unseen pictures.

    A picture whose garments nobody knows does not count.
    """
    known = held_out.targets[:, :, 6].any(axis=1)
    maps = [part[known].astype(np.float32) for part in held_out.maps]
    recall = precision = 0.0
    for threshold in _GARMENT_THRESHOLDS:
        tried = GarmentHeads(heads.weights, heads.labels, 1.0, float(threshold))
        right = named = there = 0
        for sight, learned in zip(tried.see(maps), held_out.targets[known], strict=True):
            boxes = np.unique(learned[learned[:, 0] > 0, 1:5], axis=0)
            found = [
                np.array([each.box.left, each.box.top, each.box.right, each.box.bottom], dtype=np.float32)
                for each in sight.garments
            ]
            right += sum(max((overlap(box, other) for other in found), default=0.0) >= _SAME for box in boxes)
            named, there = named + len(found), there + len(boxes)
        recall, precision = right / max(there, 1), right / max(named, 1)
        if precision >= MIN_PRECISION:
            break
    return round(float(threshold), 3), recall, precision


def _turn_threshold(
    heads: GarmentHeads, encoder: OpenvinoEncoder, held_out: Material, seed: int
) -> tuple[float, dict[str, float]]:
    """Returns the threshold at which hardly any upright studio shot is turned, and how many turned ones are found."""
    count = len(held_out.studio)
    upright = _probabilities(heads, encoder, [held_out.studio_shot(index, 0) for index in range(count)])
    random = np.random.default_rng((seed, 2))
    turns = random.integers(1, 4, count)
    turned = _probabilities(
        heads, encoder, [held_out.studio_shot(index, int(turn)) for index, turn in enumerate(turns)]
    )
    wrong = np.sort(np.where(upright.argmax(axis=1) > 0, upright.max(axis=1), 0.0))[::-1]
    allowed = int(MAX_FALSE_TURNS * count)
    threshold = max(_MIN_TURN_THRESHOLD, float(np.nextafter(wrong[allowed], np.float32(2), dtype=np.float32)))
    figures = {
        "studio_shots": count,
        "false_turns": float((wrong >= threshold).mean()),
        "turns_found": float(((turned.argmax(axis=1) == turns) & (turned.max(axis=1) >= threshold)).mean()),
    }
    return threshold, {name: round(value, 5) for name, value in figures.items()}


def _probabilities(heads: GarmentHeads, encoder: OpenvinoEncoder, examples: Sequence[Example]) -> NDArray[np.float32]:
    found = [
        heads.turn_probabilities(encoder.features(np.stack([each.pixels for each in examples[at : at + 64]])).maps[1])
        for at in range(0, len(examples), 64)
    ]
    return np.concatenate(found)
