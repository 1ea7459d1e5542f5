"""Runs an evaluation from data sets to figures."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from offline.dataset.rows import Dataset, open_dataset
from offline.evaluate.alterations import ALTERATIONS
from offline.evaluate.cache import EmbeddingCache
from offline.evaluate.classification import ClassificationEvaluation, evaluate_classification
from offline.evaluate.documents import Inputs
from offline.evaluate.model import EvaluatedModel
from offline.evaluate.new_types import measure_new_types, new_types
from offline.evaluate.products import ProductTable, drawn, embed_dataset
from offline.evaluate.retrieval import TOP_K, RetrievalEvaluation, evaluate_retrieval, work
from offline.evaluate.robustness import RobustnessRow, evaluate_robustness
from offline.evaluate.served import LocalService
from offline.evaluate.sheets import write_sheets
from services.contract.errors import InvalidInput
from services.search.filters.colours import family_of
from services.search.indexes.faiss import FaissIndex

# Each is embedded once for every alteration.
ROBUSTNESS_QUERIES: Final = 1000


class Progress(Protocol):
    """Shows how far the work has come."""

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        """Begins a stage of `total` steps; returns what to call with how many more are done."""
        ...


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate.

    Attributes:
        catalogue: the data set that is searched.
        queries: the data set that is asked for; None to ask for each product of the catalogue, which is then left out.
        limit: how many queries to take at most, drawn at random; None for all.
        seed: of that draw, and of the confidence intervals.
        cache: the folder where embeddings are kept.
        threads: for decoding photographs, and for searching.
    """

    catalogue: Path
    queries: Path | None
    limit: int | None
    seed: int
    cache: Path
    threads: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Both sides of an evaluation, embedded.

    Attributes:
        queries: what is asked for.
        catalogue: what is searched.
        inputs: what the documents say about both.
    """

    queries: ProductTable
    catalogue: ProductTable
    inputs: Inputs


def default_cache() -> Path:
    """Where embeddings are kept unless told otherwise: in the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fashion-recommender" / "embeddings"


def prepare(options: EvaluationOptions, model: EvaluatedModel, progress: Progress) -> Prepared:
    """Reads and embeds what is evaluated.

    Raises:
        InvalidInput: a data set cannot be used, no product is left of it, or the cache cannot be used.
    """
    with ExitStack() as stack:
        # Both are opened first: a mistyped path is told before anything is embedded.
        catalogue_data = stack.enter_context(open_dataset(options.catalogue))
        query_data = stack.enter_context(open_dataset(options.queries)) if options.queries is not None else None
        cache = stack.enter_context(EmbeddingCache(options.cache, model.info))

        def embed(dataset: Dataset, name: str, limit: int | None, stored: bool) -> ProductTable:
            rows = [dataset.rows[at] for at in drawn(len(dataset.rows), limit, options.seed)]
            return embed_dataset(
                dataset,
                model.encoder,
                cache,
                options.threads,
                rows,
                np.float16 if stored else np.float32,
                progress.stage(f"embedding the {name}", len(rows)),
            )

        catalogue = embed(catalogue_data, "catalogue", None, stored=True)
        if query_data is None:
            # As for a product of a catalogue, whose stored embedding is searched with.
            queries = catalogue.take(drawn(len(catalogue), options.limit, options.seed))
        else:
            queries = embed(query_data, "queries", options.limit, stored=False)
    inputs = Inputs.of(
        queries, catalogue, query_data is None, (model.info.name, model.info.model_version), options.seed
    )
    return Prepared(queries, catalogue, inputs)


def run_retrieval(
    prepared: Prepared, model: EvaluatedModel, options: EvaluationOptions, progress: Progress
) -> RetrievalEvaluation:
    """Measures retrieval on both paths and in both scopes.

    Raises:
        InvalidInput: there is nothing to ask, or nothing to find.
    """
    queries, catalogue = prepared.queries, prepared.catalogue
    return evaluate_retrieval(
        queries,
        catalogue,
        make_service=lambda table: _service(table, model, options),
        colour_family=family_of,
        seed=options.seed,
        advance=progress.stage("searching", work(queries, catalogue)),
    )


def run_classification(
    prepared: Prepared, model: EvaluatedModel, options: EvaluationOptions, progress: Progress
) -> ClassificationEvaluation:
    """Measures how often labels are found."""
    return evaluate_classification(
        prepared.queries,
        prepared.catalogue,
        _service(prepared.catalogue, model, options),
        model.heads,
        options.seed,
        progress.stage("classifying", len(prepared.queries)),
    )


def run_new_types(
    prepared: tuple[Prepared, Prepared],
    models: tuple[EvaluatedModel, EvaluatedModel],
    options: EvaluationOptions,
    progress: Progress,
) -> dict[str, Any]:
    """Measures what becomes of derived types that the first of two networks never learned from.

    Args:
        prepared: the same queries and catalogue, embedded by either.
        models: one trained with types left out, and one that knows them, whose head is made to forget them too.
        options: of either.
        progress: shows how far it has come.

    Raises:
        InvalidInput: there are no such types, or no queries of them.
    """
    without, knowing = (model.classifier.derived_type.labels for model in models)
    new = new_types(prepared[1].catalogue.derived_types, without, knowing)
    both = zip(prepared, models, strict=True)
    services = [_service(each.catalogue, model, options) for each, model in both]
    forgetful = set(knowing) - new
    rows = []
    for at, known, learned in ((0, set(without), False), (1, forgetful, True), (1, set(knowing), True)):
        queries, info = prepared[at].queries, models[at].info
        advance = progress.stage("searching", len(queries))
        model = info.name, info.model_version
        rows.append(measure_new_types(queries, services[at], new, known, learned=learned, model=model, advance=advance))
    queries = prepared[1].queries
    return {
        "types": len(new),
        "of_types": len(set(knowing) & set(prepared[1].catalogue.derived_types)),
        "queries": len(queries),
        "queries_of_new": sum(label in new for label in queries.derived_types),
        "new_types": sorted(new),
        "rows": [asdict(row) for row in rows],
    }


def run_robustness(
    prepared: Prepared, model: EvaluatedModel, options: EvaluationOptions, progress: Progress
) -> list[RobustnessRow]:
    """Measures what remains where the queries' photographs are altered; of at most `ROBUSTNESS_QUERIES`, by chance.

    Raises:
        InvalidInput: the data set of the queries cannot be used, or the queries are the catalogue's own.
    """
    if options.queries is None:
        raise InvalidInput("robustness needs queries of their own", reason="QUERIES_MISSING")
    queries = prepared.queries.take(drawn(len(prepared.queries), ROBUSTNESS_QUERIES, options.seed))
    with open_dataset(options.queries) as dataset:
        return evaluate_robustness(
            dataset,
            queries,
            prepared.catalogue,
            _service(prepared.catalogue, model, options),
            model.encoder,
            options.seed,
            progress.stage("altering photographs", len(queries) * len(ALTERATIONS)),
        )


def draw_sheets(
    prepared: Prepared, model: EvaluatedModel, options: EvaluationOptions, folder: Path, progress: Progress
) -> list[Path]:
    """Draws queries with their results in the inventory: some by chance, and the worst.

    They hold the data set's photographs, so they are for looking at, not for publishing.
    """
    queries, catalogue = prepared.queries, prepared.catalogue
    service = _service(catalogue, model, options)
    results = service.serve("inventory", queries, TOP_K, progress.stage("searching", len(queries))).results
    with open_dataset(options.catalogue) as shop, open_dataset(options.queries or options.catalogue) as asked:
        return write_sheets(asked, shop, queries, catalogue, results, options.seed, folder)


def _service(catalogue: ProductTable, model: EvaluatedModel, options: EvaluationOptions) -> LocalService:
    index = FaissIndex(model.info.dimension)
    return LocalService(catalogue, model.classifier, index, options.threads)
