"""What a network can do with products and photographs that it has not learned from, measured after a pass."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from keras import ops
from numpy.typing import NDArray

from offline.dataset.row import Row
from offline.measure.metrics import TOP_K, all_right, mean_where, precision, right_results
from offline.measure.neighbours import nearest
from offline.train.config import PHOTOGRAPH_HEADS, Stage, TrainConfig
from offline.train.data import Pictures
from offline.train.decisions import Known, accuracy, right_share
from offline.train.model import Recogniser, embed
from offline.train.photographs import Photographs
from services.classifier.heads import LabelHead
from services.embedder.encoder import normalise

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def embed_all(embed: Embed, pixels: NDArray[np.uint8], batch: int = 128) -> NDArray[np.float32]:
    """Embeds any number of pictures in batches: (n, dimension), float32.

    Args:
        embed: (at most `batch`, height, width, 3) uint8 to as many rows of float32.
        pixels: (n, height, width, 3), uint8.
        batch: pictures per call.
    """
    return np.concatenate([embed(pixels[start : start + batch]) for start in range(0, len(pixels), batch)])


def retrieval(queries: Sequence[Row], catalogue: Sequence[Row], results: NDArray[np.int64]) -> dict[str, float]:
    """Returns shares of queries whose results are all right, and of results that are right.

    Args:
        queries: products to search with.
        catalogue: products that are searched.
        results: (queries, k) indices into the catalogue.
    """
    right, _ = right_results([row.derived_type for row in queries], [row.derived_type for row in catalogue], results)
    same, coloured = right_results(
        [row.base_colour for row in queries], [row.base_colour for row in catalogue], results
    )
    return {
        "all_top_10_right": float(all_right(right, results).mean()),
        "precision_at_10": float(precision(right, results).mean()),
        "colour_agreement_at_10": mean_where(precision(same, results), coloured),
    }


class Measures:
    """The figures of a validation: retrieval of products, and each head's accuracy on products and photographs."""

    def __init__(
        self,
        config: TrainConfig,
        validation: Pictures,
        train: Pictures,
        photographs: Photographs | None,
        labels: Mapping[str, Sequence[str]],
    ) -> None:
        """Chooses what is measured.

        Args:
            config: numbers of products and the seed.
            validation: products to search with.
            train: products that are searched.
            photographs: of them, the validation senders' are recognised.
            labels: labels by head.
        """
        self._queries = validation.sample(config.validation_queries, (config.seed, 4))
        self._catalogue = train.sample(config.validation_catalogue, (config.seed, 4))
        self._labels = labels
        self._photographs = photographs.examples("validation", labels) if photographs is not None else None

    def of(self, model: Recogniser, stage: Stage) -> dict[str, float]:
        """Returns all figures of a network at the size of a stage, as shares in [0, 1]."""
        size = (stage.height, stage.width)
        heads = {
            head: LabelHead(tuple(names), normalise(ops.convert_to_numpy(model.directions[head]).T), 1.0)
            for head, names in self._labels.items()
        }
        queries = embed(model.backbone, self._queries.resized(*size))
        catalogue = embed(model.backbone, self._catalogue.resized(*size))
        figures = retrieval(self._queries.rows, self._catalogue.rows, nearest(queries, catalogue, TOP_K))
        for name, head in heads.items():
            figures[f"{name}_accuracy"] = accuracy(queries, head, self._queries.rows, name)
        if self._photographs is not None and len(self._photographs):
            known = Known(embed(model.backbone, self._photographs.pictures.resized(*size)), self._photographs.labels)
            for name in PHOTOGRAPH_HEADS:
                figures[f"photographs_{name}_accuracy"] = right_share(heads[name], name, known)
        return figures
