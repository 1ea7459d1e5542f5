"""The end of a run: its bundle, measured on products that it has not learned from, and the card that describes it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from offline.bundle import describe, whole_bundle
from offline.dataset.row import Row
from offline.measure.metrics import FREQUENT, TOP_K, mean_where, precision, right_results, within_tolerance
from offline.measure.neighbours import nearest, nearest_others
from offline.train.config import HEADS, PHOTOGRAPH_HEADS, TrainConfig
from offline.train.data import LoadedDataset, Pictures, label_names, load_of, right_labels
from offline.train.decisions import Known, accuracy, calibrate, calibration_error, choose, right_share
from offline.train.export import export
from offline.train.photographs import Photographs
from offline.train.validation import embed_all
from services.bundle.reader import Bundle, load_bundle
from services.classifier.heads import LabelHead, load_head, most_similar
from services.embedder.encoder import Encoder

STATISTICS_PICTURES: Final = 6000
# Of them, with photographs.
_PHOTOGRAPHED: Final = 0.25
_WORST: Final = 10
_WORST_AT_LEAST: Final = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """The data that a bundle was trained on, for people.

    Attributes:
        data: the data set's name.
        url: where it is published.
        licence: of the data set.
        drawn: drawn products mixed in.
        extra: all that was mixed in, as one phrase; empty if nothing was.
    """

    data: str
    url: str
    licence: str
    drawn: int = 0
    extra: str = ""


def finish(
    run: Path,
    folder: Path,
    *,
    name: str,
    source: Source,
    runtime: Callable[[Bundle], Encoder],
    say: Say,
    dataset: LoadedDataset | None = None,
) -> Bundle:
    """Writes a run's bundle with its figures on each part; one that is interrupted changes nothing in its folder.

    Args:
        run: the run's folder.
        folder: the bundle's folder; other files in it are kept.
        name: the bundle's name.
        source: what it was trained on.
        runtime: makes an encoder of a bundle.
        say: prints what is being done.
        dataset: the data set, if it is loaded already.

    Raises:
        NotFound: the run has no checkpoint.
        InvalidInput: the data set cannot be read.
    """
    config = TrainConfig.of_run(run)
    if dataset is None:
        dataset = load_of(config)
    with whole_bundle(folder) as unfinished:
        _write(config, run, unfinished, dataset, name=name, source=source, runtime=runtime, say=say)
    return load_bundle(folder)


def _write(
    config: TrainConfig,
    run: Path,
    folder: Path,
    dataset: LoadedDataset,
    *,
    name: str,
    source: Source,
    runtime: Callable[[Bundle], Encoder],
    say: Say,
) -> None:
    left_out = dataset.left_out(config.leave_out)
    train = dataset.part("train", without=left_out)
    say("batch statistics of the averaged weights")
    photographs = Photographs.load(config.photographs, config.height, config.width) if config.photographs else None
    shown = None
    if photographs is not None:
        shown = photographs.examples("train", label_names(train.rows)).pictures
        shown = shown.sample(round(STATISTICS_PICTURES * _PHOTOGRAPHED), (config.seed, 5))
    bundle = export(
        run,
        folder,
        name=name,
        statistics_from=train.sample(STATISTICS_PICTURES - len(shown or ()), (config.seed, 5)),
        photographs=shown,
        training=asdict(source),
    )
    encoder = runtime(bundle)
    validation = dataset.part("validation", without=left_out)
    say(f"how heads decide best, on {len(validation)} products of the validation part")
    on_validation = _Embedded.of(encoder, validation)
    known = [Known(on_validation.embeddings, right_labels(validation.rows, bundle.labels))]
    sent = photographs.examples("validation", bundle.labels) if photographs is not None else None
    # Of few senders, none may be for choosing.
    if sent:
        known.append(Known(_Embedded.of(encoder, sent.pictures).embeddings, sent.labels))
    bundle = describe(folder, heads=choose(bundle, on_validation.embeddings, validation.rows, train.rows))
    bundle = describe(folder, heads=calibrate(bundle, known))
    heads = {head: load_head(bundle, head) for head in HEADS}
    test = dataset.part("test", without=left_out)
    say(f"embedding {len(train)} products of the training part and {len(test)} of the test part")
    learned, on_test = _Embedded.of(encoder, train), _Embedded.of(encoder, test)
    tested = Known(on_test.embeddings, right_labels(test.rows, bundle.labels))
    figures: dict[str, Any] = {
        "parts": {
            "train": _recognised(heads, learned),
            "validation": _recognised(heads, on_validation),
        },
        "test": _measured(heads, on_test, learned),
        "calibration": {name: calibration_error(head, name, tested) for name, head in heads.items()},
    }
    if photographs is not None and sent:
        figures["photographs"] = {
            "photographs": len(sent),
            "senders": photographs.senders("validation"),
            "accuracy": {name: right_share(heads[name], name, known[1]) for name in PHOTOGRAPH_HEADS},
            "calibration": {name: calibration_error(heads[name], name, known[1]) for name in PHOTOGRAPH_HEADS},
        }
    describe(folder, metrics={**bundle.description["metrics"], **figures})


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """Products of a part: rows, and float32 (n, dimension), L2-normalised."""

    rows: Sequence[Row]
    embeddings: NDArray[np.float32]

    @classmethod
    def of(cls, encoder: Encoder, pictures: Pictures) -> Self:
        resized = pictures.resized(encoder.frame.height, encoder.frame.width)
        return cls(pictures.rows, embed_all(encoder.encode, resized))


def _recognised(heads: Mapping[str, LabelHead], part: _Embedded) -> dict[str, Any]:
    """Returns every head's accuracy on a part, as shares in [0, 1]."""
    return {
        "products": len(part.rows),
        "accuracy": {name: round(accuracy(part.embeddings, head, part.rows, name), 4) for name, head in heads.items()},
    }


def _measured(heads: Mapping[str, LabelHead], queries: _Embedded, catalogue: _Embedded) -> dict[str, Any]:
    """Returns figures of products that nothing was learned from, recognised and searched in those that were."""
    query_embeddings, embeddings = queries.embeddings, catalogue.embeddings
    return {
        **_recognised(heads, queries),
        "catalogue": len(catalogue.rows),
        "all_types": _performance(query_embeddings, embeddings, queries.rows, catalogue.rows),
        "types_500": _frequent_performance(query_embeddings, embeddings, queries.rows, catalogue.rows),
        "unseen_catalogue": _performance(
            query_embeddings, query_embeddings, queries.rows, queries.rows, among_themselves=True
        ),
        "by_gender": _by(
            queries.rows, most_similar(query_embeddings, heads["derivedType"]), lambda row: row.gender or "unknown", 1
        ),
        "by_article_type": _by(
            queries.rows,
            most_similar(query_embeddings, heads["articleType"]),
            lambda row: row.article_type,
            _WORST_AT_LEAST,
        ),
    }


def _performance(
    query_embeddings: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    queries: Sequence[Row],
    catalogue: Sequence[Row],
    *,
    among_themselves: bool = False,
) -> dict[str, Any]:
    """Returns the report's figure: the share of queries whose first ten hold at most tolerance x 10 wrong ones.

    If the queries are the catalogue, each is left out of its own answer.
    """
    results = (
        nearest_others(query_embeddings, TOP_K) if among_themselves else nearest(query_embeddings, embeddings, TOP_K)
    )
    figures: dict[str, Any] = {"queries": len(queries)}
    features: dict[str, Callable[[Row], str]] = {
        "articleType": lambda row: row.article_type,
        "gender": lambda row: row.gender or "",
        "both": lambda row: row.derived_type,
    }
    for feature, of in features.items():
        right, _ = right_results([of(row) for row in queries], [of(row) for row in catalogue], results)
        figures[feature] = {
            **{
                f"tolerance_{t:g}": round(float(within_tolerance(right, results, t).mean()), 4) for t in (0.0, 0.1, 0.2)
            },
            "precision_at_10": round(float(precision(right, results).mean()), 4),
        }
    same, coloured = right_results(
        [row.base_colour for row in queries], [row.base_colour for row in catalogue], results
    )
    figures["colour_agreement_at_10"] = round(mean_where(precision(same, results), coloured), 4)
    return figures


def _frequent_performance(
    query_embeddings: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    queries: Sequence[Row],
    catalogue: Sequence[Row],
) -> dict[str, Any] | None:
    """Returns the same among article types with at least `FREQUENT` products; None if there are none."""
    counts: dict[str, int] = defaultdict(int)
    for row in (*queries, *catalogue):
        counts[row.article_type] += 1
    of_queries = [i for i, row in enumerate(queries) if counts[row.article_type] >= FREQUENT]
    of_catalogue = [i for i, row in enumerate(catalogue) if counts[row.article_type] >= FREQUENT]
    if not of_queries or len(of_catalogue) < TOP_K:
        return None
    return _performance(
        query_embeddings[of_queries],
        embeddings[of_catalogue],
        [queries[i] for i in of_queries],
        [catalogue[i] for i in of_catalogue],
    )


def _by(
    rows: Sequence[Row], answers: Sequence[str], group: Callable[[Row], str], at_least: int
) -> dict[str, dict[str, float]]:
    """Returns the accuracy of derived types or article types within groups of at least this many products."""
    right: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        right[group(row)].append(answer in (row.derived_type, row.article_type))
    return {
        name: {"accuracy": round(float(np.mean(hits)), 4), "products": len(hits)}
        for name, hits in sorted(right.items(), key=lambda entry: (np.mean(entry[1]), entry[0]))
        if len(hits) >= at_least
    }


def worst(figures: Mapping[str, Mapping[str, float]], count: int = _WORST) -> list[tuple[str, float, int]]:
    """Returns the groups with the lowest accuracy: name, accuracy, products."""
    ranked = sorted(figures.items(), key=lambda entry: (entry[1]["accuracy"], entry[0]))
    return [(name, entry["accuracy"], int(entry["products"])) for name, entry in ranked[:count]]
