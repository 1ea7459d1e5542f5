"""Every operation of search in one process: scopes, degraded answers, exclusions, and the calls of other parts."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.concurrency import deadline
from services.contract.errors import FashionError, InvalidInput, ModelMismatch, NotFound, Overloaded, Upstream
from services.contract.fakes import FakeClassifier
from services.contract.values import (
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Embedding,
    Gender,
    ModelInfo,
    Photograph,
    parse_derived_type,
)
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import LocalEmbedder, local_embedder
from services.embedder.settings import EmbedderSettings
from services.search.assembly import running_search
from services.search.candidates.keeper import CandidateKeeper
from services.search.catalogue.store import Catalogue
from services.search.conversion.products import upsert_row_from_proto
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import ColourFilter, Filter
from services.search.indexes.base import Eligibility, Ladder, Rung
from services.search.indexes.faiss import FaissIndex
from services.search.preferences import MemoryPreferences
from services.search.query.find_similar import Degraded, SimilarAnswer
from services.search.query.request import PreferencePolicy, Scope, SimilarRequest
from services.search.service import LocalSearch
from services.search.settings import SearchSettings
from services.search.writes.snapshots import SnapshotKeeper
from services.stack.models import HandedOverCandidates
from tests.support.small_shop import items, photograph, rows

SHOT = Photograph(photograph("Women Dresses", "Red", 10))
KNOWN = "women-dresses-red-0"


class Embedder:
    """The local embedder; it counts its calls and can pretend to serve another model."""

    def __init__(self, local: LocalEmbedder) -> None:
        self.local = local
        self.asked = 0
        self.version: str | None = None

    async def embed(self, photograph: Photograph) -> Embedding:
        self.asked += 1
        embedding = await self.local.embed(photograph)
        return embedding if self.version is None else Embedding(embedding.values, self.version)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        return await self.local.batch_embed(photographs)

    async def get_model(self) -> ModelInfo:
        return await self.local.get_model()


class Preferences(MemoryPreferences):
    """Dislikes in a store that can be down."""

    down = False
    asked = 0

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        self.asked += 1
        if self.down:
            raise Upstream("down", reason="PREFERENCES_UNAVAILABLE")
        return await super().disliked_colours(user_id)


def failing(error: FashionError) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


class Shop:
    """Search over the small shop, and the parts that it calls."""

    def __init__(
        self, search: LocalSearch, embedder: Embedder, classifier: FakeClassifier, preferences: Preferences
    ) -> None:
        self.search = search
        self.embedder = embedder
        self.classifier = classifier
        self.preferences = preferences

    async def find(self, query: str | Photograph | Embedding | None, **request: object) -> SimilarAnswer:
        return await self.search.find_similar(SimilarRequest(query=query, **request))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with running_shop(tmp_path) as running:
        yield running


@asynccontextmanager
async def running_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as resources:
        encoder = FakeEncoder()
        embedder = Embedder(
            await resources.enter_async_context(
                local_embedder(encoder, EmbedderSettings(runtime="fake").limits(), warm_up_timeout_s=60)
            )
        )
        recogniser = LocalClassifier(ClassifierModel.without_heads(encoder.model), threads=1, max_pending=256)
        resources.callback(recogniser.close)
        # Not immediate, so it is called like a remote one.
        classifier = FakeClassifier(recogniser.classify_now)
        preferences = Preferences()
        catalogue = resources.enter_context(Catalogue(tmp_path))
        settings = SearchSettings(
            data_dir=tmp_path, redis_url=SecretStr(""), classifier_timeout_s=0.5, candidates_pause_s=0.0
        )
        search = await resources.enter_async_context(
            running_search(
                settings,
                catalogue=catalogue,
                embedder=embedder,
                classifier=classifier,
                preferences=preferences,
                candidate_store=HandedOverCandidates(recogniser.use),
                on_failure=pytest.fail,
            )
        )
        await search.upsert_products([upsert_row_from_proto(row) for row in rows()])
        yield Shop(search, embedder, classifier, preferences)


def _ids(answer: SimilarAnswer) -> list[str]:
    return [hit.product.id for hit in answer.result.hits]


def _types(answer: SimilarAnswer) -> set[str]:
    return {hit.product.derived_type for hit in answer.result.hits}


async def test_a_product_searches_the_whole_inventory_without_other_parts(shop: Shop) -> None:
    answer = await shop.find(KNOWN, top_k=100)
    assert answer.scope is Scope.INVENTORY
    assert (answer.derived_types, answer.classification, answer.degraded) == ((), None, ())
    assert set(_ids(answer)) == {item.id for item in items()} - {KNOWN}
    assert answer.result.eligible_count == len(items()) - 1
    similarities = [hit.similarity for hit in answer.result.hits]
    assert similarities == sorted(similarities, reverse=True)
    assert (shop.embedder.asked, shop.classifier.calls, shop.preferences.asked) == (0, 0, 0)


async def test_a_product_can_search_its_own_type(shop: Shop) -> None:
    answer = await shop.find(KNOWN, scope=Scope.PREDICTED_TYPE, top_k=100)
    assert answer.derived_types == ("Women Dresses",)
    assert (len(_ids(answer)), _types(answer)) == (9, {"Women Dresses"})
    assert shop.classifier.calls == 0


async def test_a_photograph_is_embedded_once_and_searches_its_predicted_type(shop: Shop) -> None:
    answer = await shop.find(SHOT, top_k=3)
    assert (answer.scope, answer.derived_types) == (Scope.PREDICTED_TYPE, ("Women Dresses",))
    assert set(_ids(answer)[:2]) == {"women-dresses-red-0", "women-dresses-red-25"}
    assert answer.classification is not None
    assert answer.classification.derived_types[0].label == "Women Dresses"
    assert (shop.embedder.asked, shop.classifier.calls) == (1, 1)


async def test_an_embedding_goes_the_same_way_without_the_embedder(shop: Shop) -> None:
    embedding = await shop.embedder.local.embed(SHOT)
    answer, photograph = await shop.find(embedding), await shop.find(SHOT)
    assert answer.result == photograph.result
    assert shop.embedder.asked == 1


async def test_a_photograph_may_search_elsewhere_and_is_classified_all_the_same(shop: Shop) -> None:
    everywhere = await shop.find(SHOT, scope=Scope.INVENTORY, top_k=100)
    assert (everywhere.scope, len(_ids(everywhere))) == (Scope.INVENTORY, len(items()))
    named = await shop.find(SHOT, scope=Scope.DERIVED_TYPES, derived_types=("Women Handbags", "Men Tshirts"), top_k=100)
    assert named.derived_types == ("Men Tshirts", "Women Handbags")
    assert _types(named) == {"Men Tshirts", "Women Handbags"}
    assert everywhere.classification == named.classification is not None


@pytest.mark.parametrize(
    "failure",
    [
        Upstream("down", reason="CLASSIFIER_UNAVAILABLE"),
        Overloaded("busy", reason="QUEUE_FULL"),
        ModelMismatch("another bundle", reason="MODEL_VERSION_MISMATCH"),
    ],
)
async def test_without_a_classification_the_inventory_is_searched(shop: Shop, failure: FashionError) -> None:
    shop.classifier.before = failing(failure)
    answer = await shop.find(SHOT, top_k=100)
    assert (answer.scope, answer.degraded) == (Scope.INVENTORY, (Degraded.CLASSIFIER_UNAVAILABLE,))
    assert (answer.classification, answer.result.eligible_count) == (None, len(items()))
    # In a scope that does not depend on it, nothing is missing.
    assert (await shop.find(SHOT, scope=Scope.INVENTORY)).degraded == ()


async def test_a_classifier_that_hangs_is_not_waited_for(shop: Shop) -> None:
    shop.classifier.before = asyncio.Event().wait
    with deadline.at_most(60):
        answer = await shop.find(SHOT)
    assert answer.degraded == (Degraded.CLASSIFIER_UNAVAILABLE,)


async def test_a_predicted_type_without_products_widens_the_search(shop: Shop) -> None:
    sari = DerivedTypePrediction(Gender.WOMEN, "Sarees", None, 0.9, None)
    said = Classification((), (sari,), ClassificationMethod.MODEL_LABELS, "fake", "")
    shop.classifier.answer = lambda embedding, top_k: said
    answer = await shop.find(SHOT)
    assert (answer.scope, answer.degraded) == (Scope.INVENTORY, (Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE,))
    assert answer.classification is said


def _said(confidence: float | None, *labels: str) -> Classification:
    predictions = tuple(DerivedTypePrediction(*parse_derived_type(label), None, 0.5, None, 0.3) for label in labels)
    return Classification((), predictions, ClassificationMethod.MODEL_LABELS, "fake", "", confidence)


async def test_an_unsure_photograph_searches_the_two_likeliest_types_merged_by_similarity(shop: Shop) -> None:
    said = _said(0.3, "Men Tshirts", "Women Dresses", "Women Handbags")
    shop.classifier.answer = lambda embedding, top_k: said
    assert (await shop.find(SHOT)).degraded == ()
    shop.search._generations.live.finder.unsure_below = lambda: 0.31
    answer = await shop.find(SHOT, top_k=12)
    assert (answer.scope, answer.degraded) == (Scope.PREDICTED_TYPE, (Degraded.UNSURE,))
    assert answer.derived_types == ("Men Tshirts", "Women Dresses")
    assert (answer.result.eligible_count, len(answer.result.hits)) == (20, 12)
    named = await shop.find(SHOT, scope=Scope.DERIVED_TYPES, derived_types=answer.derived_types, top_k=12)
    assert answer.result.hits == named.result.hits
    # Whoever says where to search is not told that it is unsure; the confidence is there all the same.
    assert named.degraded == () and named.classification is said
    assert (await shop.find(SHOT, scope=Scope.INVENTORY)).degraded == ()


async def test_a_predicted_type_without_products_begins_on_the_rung_above_it(shop: Shop) -> None:
    shop.classifier.answer = lambda embedding, top_k: _said(None, "Men Handbags", "Men Tshirts")
    answer = await shop.find(SHOT, widen=True, top_k=20)
    assert (answer.scope, answer.degraded) == (Scope.PREDICTED_TYPE, (Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE,))
    assert answer.derived_types == ()
    assert answer.ladder == Ladder(frozenset({"Handbags"}), frozenset({"Bags"}), frozenset())
    assert [hit.rung for hit in answer.result.hits] == [Rung.ARTICLE_TYPE] * 10 + [Rung.SUB_CATEGORY] * 10
    assert [hit.product.article_type for hit in answer.result.hits] == ["Handbags"] * 10 + ["Backpacks"] * 10
    # Where nothing is known above it either, the whole inventory is searched.
    shop.classifier.answer = lambda embedding, top_k: _said(None, "Men Sarees", "Men Tshirts")
    answer = await shop.find(SHOT, widen=True, top_k=20)
    assert (answer.scope, answer.ladder, answer.result.rung) == (Scope.INVENTORY, None, None)


async def test_unsure_types_climb_together(shop: Shop) -> None:
    shop.search._generations.live.finder.unsure_below = lambda: 0.5
    shop.classifier.answer = lambda embedding, top_k: _said(0.1, "Women Handbags", "Women Dresses")
    answer = await shop.find(SHOT, widen=True, top_k=25)
    assert answer.ladder == Ladder(frozenset({"Handbags", "Dresses"}), frozenset({"Bags", "Dress"}), frozenset())
    rungs = [hit.rung for hit in answer.result.hits]
    assert rungs == [Rung.DERIVED_TYPE] * 20 + [Rung.SUB_CATEGORY] * 5
    assert (answer.result.rung, answer.result.searched_count) == (Rung.SUB_CATEGORY, 30)


@pytest.mark.parametrize("confidence", [None, 0.31, 0.9])
async def test_a_confident_photograph_searches_one_type(shop: Shop, confidence: float | None) -> None:
    said = _said(confidence, "Men Tshirts", "Women Dresses")
    shop.classifier.answer = lambda embedding, top_k: said
    shop.search._generations.live.finder.unsure_below = lambda: 0.31
    answer = await shop.find(SHOT)
    assert (answer.derived_types, answer.degraded) == (("Men Tshirts",), ())


async def test_unsure_types_that_the_catalogue_lacks_are_not_searched(shop: Shop) -> None:
    shop.search._generations.live.finder.unsure_below = lambda: 0.5
    shop.classifier.answer = lambda embedding, top_k: _said(0.1, "Women Sarees", "Women Dresses")
    answer = await shop.find(SHOT)
    assert (answer.derived_types, answer.degraded) == (("Women Dresses",), (Degraded.UNSURE,))
    shop.classifier.answer = lambda embedding, top_k: _said(0.1, "Women Sarees", "Men Sarees")
    answer = await shop.find(SHOT)
    assert (answer.scope, set(answer.degraded)) == (
        Scope.INVENTORY,
        {Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE, Degraded.UNSURE},
    )


async def test_disliked_colours_are_left_out_with_their_families_in_every_scope(shop: Shop) -> None:
    await shop.search.add_disliked_colours("ann", [DislikedColour("Blue"), DislikedColour("Yellow")])
    shop.classifier.before = failing(Upstream("down", reason="CLASSIFIER_UNAVAILABLE"))
    for query, scope in ((KNOWN, None), (KNOWN, Scope.PREDICTED_TYPE), (SHOT, None), (SHOT, Scope.INVENTORY)):
        answer = await shop.find(query, scope=scope, user_id="ann", top_k=100)
        assert {"Blue", "Navy Blue", "Yellow"} <= set(answer.result.excluded_colours)
        assert {hit.product.base_colour for hit in answer.result.hits} == {"Red", "Black"}
        assert len(answer.result.hits) == answer.result.eligible_count


async def test_an_exact_dislike_leaves_its_family(shop: Shop) -> None:
    await shop.search.add_disliked_colours("ann", [DislikedColour("Blue", exact=True)])
    answer = await shop.find(KNOWN, user_id="ann", top_k=100)
    assert answer.result.excluded_colours == ("Blue",)
    assert "Navy Blue" in {hit.product.base_colour for hit in answer.result.hits}


async def test_missing_dislikes_degrade_the_answer_or_fail_it(shop: Shop) -> None:
    shop.preferences.down = True
    for query in (KNOWN, SHOT):
        answer = await shop.find(query, user_id="ann")
        assert answer.degraded == (Degraded.PREFERENCES_UNAVAILABLE,)
        with pytest.raises(Upstream) as error:
            await shop.find(query, user_id="ann", preference_policy=PreferencePolicy.REQUIRED)
        assert error.value.reason == "PREFERENCES_UNAVAILABLE"
        assert (await shop.find(query, preference_policy=PreferencePolicy.REQUIRED)).degraded == ()


async def test_an_answer_names_everything_that_is_missing(shop: Shop) -> None:
    shop.preferences.down = True
    shop.classifier.before = failing(Upstream("down", reason="CLASSIFIER_UNAVAILABLE"))
    answer = await shop.find(SHOT, user_id="ann")
    assert answer.degraded == (Degraded.PREFERENCES_UNAVAILABLE, Degraded.CLASSIFIER_UNAVAILABLE)


async def test_liked_and_disliked_products_steer_and_stay_out(shop: Shop) -> None:
    plain = await shop.find("men-tshirts-red-0", top_k=100)
    steered = await shop.find(
        "men-tshirts-red-0",
        liked_ids=("women-handbags-yellow-0",),
        disliked_ids=("men-tshirts-black-0",),
        eligibility=Eligibility(excluded_ids=("men-tshirts-blue-0", "no-such")),
        top_k=100,
    )
    gone = {"women-handbags-yellow-0", "men-tshirts-black-0", "men-tshirts-blue-0"}
    assert set(_ids(plain)) - set(_ids(steered)) == gone
    bag = "women-handbags-yellow-25"
    assert _ids(steered).index(bag) < _ids(plain).index(bag)


async def test_what_is_out_of_stock_is_left_out_unless_asked_for(shop: Shop) -> None:
    (sold,) = [item for item in items() if item.id == "women-dresses-red-25"]
    await shop.search.upsert_products([upsert_row_from_proto(sold.row(in_stock=False))])
    assert sold.id not in _ids(await shop.find(KNOWN, top_k=100))
    assert sold.id in _ids(await shop.find(KNOWN, eligibility=Eligibility(include_out_of_stock=True), top_k=100))
    facts = (await shop.search.get_index()).index
    assert (facts.product_count, facts.available_count) == (len(items()), len(items()) - 1)


async def test_bad_requests_are_refused_before_other_parts_are_called(shop: Shop) -> None:
    for query, request, reason in (
        (None, {}, "QUERY_MISSING"),
        (SHOT, {"top_k": 0}, "TOP_K_OUT_OF_RANGE"),
        (SHOT, {"top_k": 101}, "TOP_K_OUT_OF_RANGE"),
        (SHOT, {"user_id": "a b"}, "USER_ID_INVALID"),
        (SHOT, {"derived_types": ("Men Tshirts",)}, "SCOPE_INVALID"),
        (SHOT, {"scope": Scope.DERIVED_TYPES}, "SCOPE_INVALID"),
        (SHOT, {"scope": Scope.DERIVED_TYPES, "derived_types": ("Men Tshirt",)}, "DERIVED_TYPE_UNKNOWN"),
        (SHOT, {"liked_ids": tuple(map(str, range(21)))}, "TOO_MANY_PRODUCTS"),
    ):
        with pytest.raises(InvalidInput) as error:
            await shop.find(query, **request)
        assert error.value.reason == reason
    assert (shop.embedder.asked, shop.classifier.calls, shop.preferences.asked) == (0, 0, 0)


async def test_an_unknown_product_is_named(shop: Shop) -> None:
    for request in (
        {"query": "gone"},
        {"query": KNOWN, "liked_ids": ("gone",)},
        {"query": SHOT, "disliked_ids": ("gone",)},
    ):
        with pytest.raises(NotFound) as error:
            await shop.find(**request)
        assert error.value.metadata["product_id"] == "gone"


async def test_an_embedder_of_another_model_is_refused_and_both_models_are_named(shop: Shop) -> None:
    shop.embedder.version = "newer"
    served = (await shop.search.get_index()).model_version
    with pytest.raises(ModelMismatch, match=rf"'newer'.*'{served}'") as error:
        await shop.find(SHOT)
    assert error.value.reason == "MODEL_VERSION_MISMATCH"
    assert error.value.metadata == {"given": "newer", "served": served}


async def test_a_new_type_is_recognised_by_the_query_after_its_write(shop: Shop) -> None:
    stripes = Photograph(photograph("Unisex Backpacks", "Red", 5))
    assert (await shop.find(stripes)).derived_types == ("Unisex Backpacks",)
    await shop.search.delete_products([item.id for item in items() if item.derived_type == "Unisex Backpacks"])
    gone = await shop.find(stripes)
    assert "Unisex Backpacks" not in gone.derived_types
    assert gone.degraded == ()
    await shop.search.upsert_products(
        [upsert_row_from_proto(row) for row in rows() if row.product.article_type == "Backpacks"]
    )
    assert (await shop.find(stripes)).derived_types == ("Unisex Backpacks",)


async def test_pages_lead_through_the_whole_catalogue_in_the_order_of_ids(shop: Shop) -> None:
    red = Filter(base_colour=ColourFilter(any_of=("Red",)))
    seen: list[str] = []
    token = ""
    while True:
        page = await shop.search.list_products(red, page_size=3, page_token=token)
        seen += [product.id for product in page.products]
        assert page.total_count == 8
        if not page.next_page_token:
            break
        token = page.next_page_token
    assert seen == [item.id for item in items() if item.colour == "Red"]


async def test_a_page_that_ends_with_the_last_product_is_the_last(shop: Shop) -> None:
    page = await shop.search.list_products(Filter(), page_size=len(items()))
    assert (len(page.products), page.next_page_token) == (len(items()), "")


async def test_a_product_comes_with_its_embedding_where_asked_for(shop: Shop) -> None:
    assert (await shop.search.get_product(KNOWN, include_embedding=False)).embedding is None
    found = await shop.search.get_product(KNOWN, include_embedding=True)
    assert found.embedding is not None
    # As a query, the embedding finds the product itself.
    assert _ids(await shop.find(found.embedding, scope=Scope.INVENTORY, top_k=1)) == [KNOWN]


async def test_a_product_that_came_as_an_embedding_has_no_photograph(shop: Shop) -> None:
    embedding = await shop.embedder.local.embed(SHOT)
    known = upsert_row_from_proto(items()[0].row(id="bare"))
    await shop.search.upsert_products([type(known)("bare", known.product, embedding)])
    with pytest.raises(NotFound) as error:
        await shop.search.get_photograph("bare")
    assert error.value.reason == "PHOTOGRAPH_NOT_FOUND"
    assert (await shop.search.get_photograph(KNOWN)).media_type == "image/png"


async def test_dislikes_come_and_go(shop: Shop) -> None:
    await shop.search.add_disliked_colours("ann", [DislikedColour("Red"), DislikedColour("Mustard", exact=True)])
    assert await shop.search.remove_disliked_colours("ann", ["Red", "Puce"]) == (DislikedColour("Mustard", exact=True),)
    assert await shop.search.list_disliked_colours("ann") == (DislikedColour("Mustard", exact=True),)
    assert await shop.search.forget_user("ann")
    assert await shop.search.list_disliked_colours("ann") == ()


async def test_what_is_stored_at_the_end_is_of_a_write_that_was_given_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    applied, goes_on = threading.Event(), threading.Event()

    def noting(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def noted(*arguments: object) -> object:
            steps.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, noted)

    for owner, name in ((CandidateKeeper, "note"), (CandidateKeeper, "keep"), (SnapshotKeeper, "stop")):
        noting(owner, name)
    async with running_shop(tmp_path) as shop:
        original = FaissIndex.apply

        def apply(index: FaissIndex, *arguments: Any) -> None:
            original(index, *arguments)
            applied.set()
            goes_on.wait()

        monkeypatch.setattr(FaissIndex, "apply", apply)
        steps.clear()
        write = asyncio.create_task(shop.search.delete_products([KNOWN]))
        await asyncio.to_thread(applied.wait)
        write.cancel()
        with suppress(asyncio.CancelledError):
            await write
        threading.Timer(0.5, goes_on.set).start()
    # The background may keep candidates before the end too.
    assert [each for each in steps if each != "keep"] == ["note", "stop"]
    assert steps[-1] == "keep"
