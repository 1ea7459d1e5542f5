"""An evaluation from data sets to figures."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np

from offline.dataset.labels import photograph_labels
from offline.dataset.rows import Dataset, open_dataset
from offline.evaluate.alterations import ALTERATIONS
from offline.evaluate.cache import EmbeddingCache
from offline.evaluate.classification import ClassificationEvaluation, evaluate_classification
from offline.evaluate.coarse_types import CoarseTypes
from offline.evaluate.designs import measure_designs
from offline.evaluate.documents import Inputs
from offline.evaluate.doubt import Asked, doubt_figures
from offline.evaluate.doubt import searches as doubt_searches
from offline.evaluate.model import EvaluatedModel
from offline.evaluate.new_types import measure_new_types, new_types
from offline.evaluate.photograph_figures import PhotographEvaluation
from offline.evaluate.photographs import STUDIO_ALTERATIONS, evaluate_photographs, searches
from offline.evaluate.products import DatasetEmbedder, ProductTable, drawn
from offline.evaluate.retrieval import RetrievalEvaluation, evaluate_retrieval, work
from offline.evaluate.robustness import UNALTERED, RobustnessRow, alter, evaluate_robustness, robustness_sheet
from offline.evaluate.served import LocalService
from offline.evaluate.sheets import draw_answers, write_sheets
from offline.measure.metrics import TOP_K
from services.contract.errors import InvalidInput
from services.contract.values import Subject
from services.search.filters.colours import family_of
from services.search.indexes.faiss import FaissIndex

# Each is embedded once for every alteration.
MAX_ROBUSTNESS_QUERIES: Final = 1000
MAX_STUDIO_SHOTS: Final = 500
_ALTERED_ROWS: Final = 8


class Progress(Protocol):
    """Shows how far the work has come."""

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        """Begins a stage of `total` steps and returns a function that takes how many more are done."""
        ...


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate.

    Attributes:
        catalogue: the data set that is searched.
        queries: the data set of the queries; None to ask for each product of the catalogue, itself left out.
        bundle: the folder of the model, for what it keeps of its training.
        limit: the number of random queries; None for all.
        seed: seeds that draw and the confidence intervals.
        cache: the folder for embeddings.
        threads: the number of threads that decode photographs, and that search.
        subject: what of queries is looked at that are no products of the catalogue.
    """

    catalogue: Path
    queries: Path | None
    bundle: Path
    limit: int | None
    seed: int
    cache: Path
    threads: int
    subject: Subject = Subject.WHOLE


def default_cache() -> Path:
    """Returns the folder for embeddings where none is named: one in the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fashion-recommender" / "embeddings"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Queries and a catalogue embedded by one model, and what can be measured of them.

    Attributes:
        queries: the products that are asked for.
        catalogue: the products that are searched.
        inputs: what the documents say about both.
        model: the model that is measured.
        options: what to evaluate.
        progress: shows how far the work has come.
    """

    queries: ProductTable
    catalogue: ProductTable
    inputs: Inputs
    model: EvaluatedModel
    options: EvaluationOptions
    progress: Progress

    @classmethod
    def prepare(cls, options: EvaluationOptions, model: EvaluatedModel, progress: Progress) -> Self:
        """Reads and embeds what is evaluated.

        Raises:
            InvalidInput: a data set cannot be used, no product is left of it, or the cache cannot be used.
        """
        with ExitStack() as stack:
            # Both are opened first: a mistyped path is reported before anything is embedded.
            catalogue_data = stack.enter_context(open_dataset(options.catalogue))
            query_data = stack.enter_context(open_dataset(options.queries)) if options.queries is not None else None
            embedder = stack.enter_context(_embedder(options, model))

            def embed(dataset: Dataset, name: str, limit: int | None, stored: bool) -> ProductTable:
                rows = [dataset.rows[at] for at in drawn(len(dataset.rows), limit, options.seed)]
                return embedder.embed(
                    dataset,
                    rows,
                    np.float16 if stored else np.float32,
                    progress.stage(f"embedding the {name}", len(rows)),
                    subject=Subject.WHOLE if stored else options.subject,
                )

            catalogue = embed(catalogue_data, "catalogue", None, stored=True)
            if query_data is None:
                # As users ask for a product of the catalogue: with its stored embedding.
                queries = catalogue.take(drawn(len(catalogue), options.limit, options.seed))
            else:
                queries = embed(query_data, "queries", options.limit, stored=False)
        name_and_version = model.info.name, model.info.model_version
        inputs = Inputs.of(queries, catalogue, query_data is None, name_and_version, options.seed)
        return cls(queries, catalogue, inputs, model, options, progress)

    def retrieval(self) -> RetrievalEvaluation:
        """Measures retrieval on both paths and in both scopes.

        Raises:
            InvalidInput: there is nothing to ask, or nothing to find.
        """
        return evaluate_retrieval(
            self.queries,
            self.catalogue,
            make_service=self._service,
            colour_family=family_of,
            seed=self.options.seed,
            advance=self.progress.stage("searching", work(self.queries, self.catalogue)),
        )

    def classification(self) -> ClassificationEvaluation:
        """Measures how often labels are found."""
        return evaluate_classification(
            self.queries,
            self.catalogue,
            self._service(self.catalogue),
            self.model.heads,
            self.options.seed,
            self.progress.stage("classifying", len(self.queries)),
        )

    def robustness(self) -> list[RobustnessRow]:
        """Measures what remains where photographs of at most `MAX_ROBUSTNESS_QUERIES` random queries are altered.

        Raises:
            InvalidInput: the data set of the queries cannot be used, or the queries are the catalogue's own.
        """
        if self.options.queries is None:
            raise InvalidInput(
                "Robustness needs queries apart from the catalogue: name them with --queries.",
                reason="QUERIES_MISSING",
            )
        queries = self.queries.take(drawn(len(self.queries), MAX_ROBUSTNESS_QUERIES, self.options.seed))
        with open_dataset(self.options.queries) as dataset:
            return evaluate_robustness(
                dataset,
                queries,
                self.catalogue,
                self._service(self.catalogue),
                self.model.encoder,
                self.options.seed,
                self.progress.stage("altering photographs", len(queries) * len(ALTERATIONS)),
            )

    def photographs(self, studio: Path | None) -> PhotographEvaluation:
        """Measures the queries as photographs that people took of their own clothes.

        Args:
            studio: a data set of studio shots to compare with; at most `MAX_STUDIO_SHOTS` random ones are taken. None
                for products of the catalogue, unless the photographs themselves are the catalogue.

        Raises:
            InvalidInput: a data set cannot be used.
        """
        if self.options.queries is None:
            raise InvalidInput("Name the photographs with --queries.", reason="QUERIES_MISSING")
        with open_dataset(self.options.queries) as dataset:
            labels = photograph_labels(dataset)
            shop = self._sold(dataset)
        shots = self._studio_shots(studio)
        count = len(next(iter(shots.values()))) if shots else 0
        return evaluate_photographs(
            self.queries,
            labels,
            self.catalogue,
            shop,
            self._service(self.catalogue),
            self._service,
            shots,
            self.options.seed,
            self.progress.stage("searching", searches(self.queries, self.catalogue, count)),
        )

    def doubt(self, studio: Path) -> dict[str, Any]:
        """Measures when to doubt answers to the queries, which are people's photographs, and to studio shots.

        Args:
            studio: a data set of studio shots that the catalogue does not hold.

        Returns:
            The figures as JSON values.

        Raises:
            InvalidInput: a data set cannot be used.
        """
        if self.options.queries is None:
            raise InvalidInput("Name the photographs with --queries.", reason="QUERIES_MISSING")
        with open_dataset(self.options.queries) as dataset:
            labels = photograph_labels(dataset)
        with open_dataset(studio) as dataset, _embedder(self.options, self.model) as embedder:
            rows = [dataset.rows[at] for at in drawn(len(dataset.rows), self.options.limit, self.options.seed)]
            advance = self.progress.stage("embedding studio shots", len(rows))
            shots = embedder.embed(dataset, rows, np.float32, advance, subject=self.options.subject)
        asked = (Asked.studio(shots), Asked.photographs(self.queries, labels, CoarseTypes.load()))
        advance = self.progress.stage("searching", doubt_searches(asked))
        figures = doubt_figures(asked, self.catalogue, self._service(self.catalogue), advance)
        return {
            "model": self.model.info.name,
            "model_version": self.model.info.model_version,
            "catalogue": len(self.catalogue),
            "queries": {each.name: len(each.queries) for each in asked},
            **figures,
        }

    def _sold(self, photographs: Dataset) -> ProductTable:
        """Embeds the queries as a shop embeds its products: whole."""
        if self.options.subject is Subject.WHOLE or self.catalogue.holds(self.queries):
            return self.queries
        asked = set(self.queries.ids)
        rows = [row for row in photographs.rows if row.id in asked]
        with _embedder(self.options, self.model) as embedder:
            return embedder.embed(
                photographs, rows, np.float16, self.progress.stage("embedding a shop of the queries", len(rows))
            )

    def draw_worst_photographs(self, evaluation: PhotographEvaluation, path: Path) -> None:
        """Draws the wrong photographs that the classifier was most certain of, with what they find.

        The picture holds people's photographs: look at it, but do not publish it.
        """
        rows = [*evaluation.worst]
        asked = []
        for row in rows:
            coarse, _, probability = evaluation.answers[row]
            asked.append((self.queries.ids[row], f"{self.queries.article_types[row]}\n= {coarse} {probability:.0%}"))
        sold = [(product.id, product.derived_type) for product in self.catalogue.products]
        options = self.options
        with open_dataset(options.catalogue) as shop, open_dataset(options.queries or options.catalogue) as of_queries:
            sheet = draw_answers(
                of_queries, shop, asked, sold, evaluation.results[rows], evaluation.right_results[rows]
            )
        sheet.save(path)

    def _studio_shots(self, studio: Path | None) -> dict[str, ProductTable]:
        """Embeds studio shots as they are, and altered in each way of `STUDIO_ALTERATIONS`."""
        if studio is None and self.catalogue.holds(self.queries):
            return {}
        seed, names = self.options.seed, [UNALTERED, *STUDIO_ALTERATIONS]
        with (
            open_dataset(studio or self.options.catalogue) as dataset,
            _embedder(self.options, self.model) as embedder,
        ):
            rows = [dataset.rows[at] for at in drawn(len(dataset.rows), MAX_STUDIO_SHOTS, seed)]
            advance = self.progress.stage("embedding studio shots", len(rows) * len(names))

            def altered(name: str) -> Callable[[bytes, str], bytes] | None:
                alteration = STUDIO_ALTERATIONS.get(name)
                if alteration is None:
                    return None
                return lambda content, product_id: alter(content, name, alteration, product_id, seed)

            return {
                name: embedder.embed(dataset, rows, np.float32, advance, altered(name), self.options.subject)
                for name in names
            }

    def designs(self, sheets: Path | None) -> tuple[dict[str, Any], list[Path]]:
        """Counts the pairs of the catalogue that may be one design.

        Args:
            sheets: a folder for pictures of random pairs; None to draw none.

        Returns:
            The figures as JSON values, and the paths of the pictures.
        """
        measured = measure_designs(self.catalogue, self.options.seed)
        if sheets is None:
            return measured.document(), []
        with open_dataset(self.options.catalogue) as dataset:
            return measured.document(), measured.draw(dataset, sheets)

    def new_types(self, without: "Evaluation") -> dict[str, Any]:
        """Measures what becomes of derived types that another network never learned from.

        Args:
            without: the same queries and catalogue, embedded by a network that was trained with types left out. This
                evaluation's own network knows them; a second row shows it with a head that was made to forget them.

        Returns:
            The figures as JSON values.

        Raises:
            InvalidInput: there are no such types, or no queries of them.
        """
        known_without, known = (set(each.model.classifier.derived_type.labels) for each in (without, self))
        new = new_types(self.catalogue.derived_types, known_without, known)
        services = {id(each): each._service(each.catalogue) for each in (without, self)}
        rows = []
        for each, labels, learned in ((without, known_without, False), (self, known - new, True), (self, known, True)):
            info = each.model.info
            row = measure_new_types(
                each.queries,
                services[id(each)],
                new,
                labels,
                learned=learned,
                model=(info.name, info.model_version),
                advance=self.progress.stage("searching", len(each.queries)),
            )
            rows.append(asdict(row))
        return {
            "types": len(new),
            "of_types": len(known & set(self.catalogue.derived_types)),
            "queries": len(self.queries),
            "queries_of_new": sum(label in new for label in self.queries.derived_types),
            "new_types": sorted(new),
            "rows": rows,
        }

    def backbones(self, names: Sequence[str], catalogue_limit: int) -> list[dict[str, Any]]:
        """Compares the model with networks of keras.applications.

        Args:
            names: the networks; all of `BACKBONES` for none.
            catalogue_limit: how many random products of the catalogue to search at most.

        Returns:
            The figures as JSON values, one row per network.

        Raises:
            InvalidInput: a network is not among `BACKBONES`.
        """
        from offline.evaluate.backbones import BACKBONES, compare_backbones, measure_bundle

        unknown = sorted(set(names) - set(BACKBONES))
        if unknown:
            raise InvalidInput(
                f"Networks that are not known here: {', '.join(unknown)}. Choose among {', '.join(BACKBONES)}.",
                reason="NETWORK_UNKNOWN",
            )
        names = names or list(BACKBONES)
        options, queries = self.options, self.queries
        catalogue = self.catalogue.take(drawn(len(self.catalogue), catalogue_limit, options.seed))
        advance = self.progress.stage("networks", len(names))
        with open_dataset(options.catalogue) as shop, open_dataset(options.queries or options.catalogue) as of_queries:
            rows = [measure_bundle(self.model.encoder, queries, catalogue)]
            rows += compare_backbones(names, (of_queries, queries), (shop, catalogue), lambda row: advance(1))
        return [asdict(row) for row in rows]

    def draw_sheets(self, folder: Path) -> list[Path]:
        """Draws queries with their results in the inventory, random ones and the worst, and returns the files.

        The pictures hold the data set's photographs: look at them, but do not publish them.
        """
        advance = self.progress.stage("searching", len(self.queries))
        results = self._service(self.catalogue).serve("inventory", self.queries, TOP_K, advance).results
        options = self.options
        with open_dataset(options.catalogue) as shop, open_dataset(options.queries or options.catalogue) as of_queries:
            return write_sheets(of_queries, shop, self.queries, self.catalogue, results, options.seed, folder)

    def draw_altered(self, path: Path) -> None:
        """Draws the photographs of the first queries beside each alteration of them."""
        with open_dataset(self.options.queries or self.options.catalogue) as dataset:
            robustness_sheet(dataset, self.queries.ids[:_ALTERED_ROWS], self.options.seed).save(path)

    def _service(self, catalogue: ProductTable) -> LocalService:
        index = FaissIndex(self.model.info.dimension)
        return LocalService(catalogue, self.model.classifier, index, self.options.threads)


@contextmanager
def _embedder(options: EvaluationOptions, model: EvaluatedModel) -> Iterator[DatasetEmbedder]:
    with EmbeddingCache(options.cache, model.info, model.garments) as cache:
        yield DatasetEmbedder(model.encoder, cache, options.threads)
