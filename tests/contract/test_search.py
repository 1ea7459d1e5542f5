"""SearchService over gRPC: products come back as sent, and every answer says what was applied."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fashion.v1 import classifier_pb2, classifier_pb2_grpc, embedder_pb2, embedder_pb2_grpc, search_pb2, types_pb2
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        yield stack.target


@pytest.fixture
def caller(target: str) -> Iterator[Caller]:
    with calling(target) as connected:
        yield connected


FULL = types_pb2.Product(
    id="full/№1",
    gender=types_pb2.GENDER_GIRLS,
    master_category="Apparel",
    sub_category="Topwear",
    article_type="Tops",
    base_colour="Sea Green",
    brand="Harbour",
    season="Summer",
    year=2012,
    usage="Casual",
    name='Top "Méduse", 7–8 years',
    url="https://shop.example/p/1?colour=sea%20green",
    image_url="http://cdn.example/1.jpg",
    price=types_pb2.Price(currency_code="EUR", units=19, nanos=990_000_000),
    in_stock=False,
    parent_id="full",
    attributes={
        "material": types_pb2.AttributeValue(labels=types_pb2.Labels(values=["Cotton", "Elastane"])),
        "heel_mm": types_pb2.AttributeValue(number=40.5),
        "organic": types_pb2.AttributeValue(flag=False),
    },
)
BARE = types_pb2.Product(id="bare", gender=types_pb2.GENDER_BOYS, sub_category="Topwear", article_type="Tshirts")


def _get(caller: Caller, product_id: str, *, include_embedding: bool = False) -> search_pb2.GetProductResponse:
    request = search_pb2.GetProductRequest(product_id=product_id, include_embedding=include_embedding)
    return caller.search.GetProduct(request, timeout=20)


def _delete(caller: Caller, *product_ids: str) -> search_pb2.DeleteProductsResponse:
    return caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=product_ids), timeout=20)


def test_a_product_comes_back_as_it_was_sent_and_what_is_unknown_stays_absent(caller: Caller) -> None:
    content = photograph("Men Tshirts", "Blue", 3, form="JPEG")
    image = types_pb2.Image(content=content)
    written = caller.upsert([search_pb2.ProductRow(product=each, image=image) for each in (FULL, BARE)])
    assert [each.outcome for each in written.results] == [search_pb2.UPSERT_OUTCOME_CREATED] * 2
    try:
        for sent, derived_type in ((FULL, "Girls Tops"), (BARE, "Boys Tshirts")):
            expected = types_pb2.Product()
            expected.CopyFrom(sent)
            expected.derived_type, expected.photograph_count = derived_type, 1
            answer = _get(caller, sent.id)
            assert answer.product == expected
            assert not answer.HasField("embedding")
        kept = caller.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id="bare"), timeout=20)
        assert (kept.content, kept.media_type) == (content, "image/jpeg")
        assert kept.sha256 == hashlib.sha256(content).hexdigest()
    finally:
        assert not any(each.status.code for each in _delete(caller, FULL.id, BARE.id).results)


def test_a_row_replaces_what_the_mask_names_and_keeps_the_rest(caller: Caller) -> None:
    image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 3))
    caller.upsert([search_pb2.ProductRow(product=FULL, image=image)])
    try:
        sent = types_pb2.Product(
            id=FULL.id,
            gender=FULL.gender,
            sub_category="Topwear",
            article_type="Tops",
            name="Another",
            base_colour="Red",
        )
        request = search_pb2.UpsertProductsRequest(
            rows=[search_pb2.ProductRow(product=sent, image=image)], update_mask=FieldMask(paths=["name", "season"])
        )
        (result,) = caller.search.UpsertProducts(request, timeout=20).results
        assert result.outcome == search_pb2.UPSERT_OUTCOME_UPDATED
        expected = types_pb2.Product()
        expected.CopyFrom(FULL)
        expected.name, expected.derived_type, expected.photograph_count = "Another", "Girls Tops", 1
        expected.ClearField("season")
        assert _get(caller, FULL.id).product == expected
    finally:
        _delete(caller, FULL.id)


def _update(
    caller: Caller, *updates: search_pb2.ProductUpdate, mask: FieldMask | None = None
) -> list[tuple[str, search_pb2.UpsertOutcome]]:
    request = search_pb2.UpdateProductsRequest(updates=updates, update_mask=mask)
    return [(each.status.reason, each.outcome) for each in caller.search.UpdateProducts(request, timeout=20).results]


def test_an_update_changes_what_its_mask_names_and_nothing_else(caller: Caller) -> None:
    update, updated, unchanged = search_pb2.ProductUpdate, search_pb2.UPSERT_OUTCOME_UPDATED, 3
    other = types_pb2.Product(id="other", sub_category="Topwear", article_type="Tops", gender=types_pb2.GENDER_MEN)
    cotton = types_pb2.AttributeValue(labels=types_pb2.Labels(values=["Cotton"]))
    heel = types_pb2.AttributeValue(number=40)
    expected = types_pb2.Product()
    expected.CopyFrom(FULL)
    expected.derived_type, expected.photograph_count = "Girls Tops", 1
    image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 3))
    caller.upsert([search_pb2.ProductRow(product=each, image=image) for each in (FULL, other)])
    before = caller.search.GetIndex(search_pb2.GetIndexRequest(), timeout=20)
    try:
        price = types_pb2.Price(currency_code="EUR", units=9)
        # Without a mask, the fields that have a value; a mask of the row goes before that of the request.
        assert _update(
            caller, update(product=types_pb2.Product(id=FULL.id, price=price, in_stock=True, derived_type="Boys Tops"))
        ) == [("", updated)]
        expected.price.CopyFrom(price)
        expected.in_stock = True
        assert _get(caller, FULL.id).product == expected
        assert _update(
            caller,
            update(product=types_pb2.Product(id=FULL.id, name="Another", season="Fall", attributes={"heel_mm": heel})),
            update(
                product=types_pb2.Product(id=FULL.id, attributes={"heel_mm": heel, "material": cotton}),
                update_mask=FieldMask(paths=["attributes.material", "in_stock"]),
            ),
            update(product=types_pb2.Product(id=other.id, year=1999), update_mask=FieldMask()),
            update(product=types_pb2.Product(id="nobody", name="Nobody")),
            update(product=types_pb2.Product(id=other.id), update_mask=FieldMask(paths=["article_type"])),
            update(product=types_pb2.Product(id=other.id), update_mask=FieldMask(paths=["price.units"])),
            update(product=types_pb2.Product(id="", name="Nobody")),
            update(product=types_pb2.Product(id=other.id, name=" ")),
            mask=FieldMask(paths=["name", "usage"]),
        ) == [
            ("", updated),
            ("", updated),
            ("", unchanged),
            ("PRODUCT_NOT_FOUND", 0),
            ("ARTICLE_TYPE_MISSING", 0),
            ("UPDATE_MASK_INVALID", 0),
            ("PRODUCT_ID_INVALID", 0),
            ("LABEL_INVALID", 0),
        ]
        expected.name = "Another"
        expected.attributes["material"].CopyFrom(cotton)
        for absent in ("usage", "in_stock"):
            expected.ClearField(absent)
        assert _get(caller, FULL.id).product == expected
        kept = caller.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id=FULL.id), timeout=20)
        assert kept.content == image.content
        after = caller.search.GetIndex(search_pb2.GetIndexRequest(), timeout=20)
        assert after.index_version == before.index_version + 2
        assert after.candidates_version == before.candidates_version
        with pytest.raises(grpc.RpcError) as error:
            _update(caller, update(product=other), mask=FieldMask(paths=["colour"]))
        assert refusal(error.value)[1] == "UPDATE_MASK_INVALID"
    finally:
        _delete(caller, FULL.id, other.id)


def test_defaults_are_those_of_the_contract(caller: Caller) -> None:
    found = caller.find(product_id=items()[0].id)
    assert len(found.products) == 10
    assert found.applied.scope == search_pb2.SEARCH_SCOPE_INVENTORY
    assert not found.HasField("classification")
    assert found.applied.eligible_count == len(items()) - 1
    page = caller.search.ListProducts(search_pb2.ListProductsRequest(), timeout=20)
    assert (len(page.products), page.total_size, page.next_page_token) == (40, 40, "")


def test_an_answer_says_what_was_applied(caller: Caller) -> None:
    caller.dislike("ann", "Blue")
    found = caller.find(image=types_pb2.Image(content=photograph("Women Handbags", "Red", 4)), user_id="ann", top_k=100)
    facts = caller.index()
    assert found.applied == search_pb2.AppliedSearch(
        scope=search_pb2.SEARCH_SCOPE_PREDICTED_TYPE,
        derived_types=["Women Handbags"],
        excluded_colours=["Blue", "Navy Blue"],
        eligible_count=6,
        model_version=facts.model_version,
        index_version=facts.index_version,
        counts=search_pb2.ResultCounts(requested_count=100, searched_count=10, disliked_count=4, returned_count=6),
    )
    assert found.classification.candidates_version == facts.candidates_version
    assert all(-1 <= each.similarity <= 1 for each in found.products)
    assert [each.product.derived_type for each in found.products] == ["Women Handbags"] * 6


def test_equal_similarities_are_ordered_by_product_id(caller: Caller) -> None:
    twins = [items()[0].row(id=name) for name in ("zz", "aa", "mm")]
    caller.upsert(twins)
    try:
        found = caller.find(product_id=items()[0].id, top_k=3)
        assert [each.product.id for each in found.products] == ["aa", "mm", "zz"]
        assert len({each.similarity for each in found.products}) == 1
    finally:
        _delete(caller, "aa", "mm", "zz")


def test_filters_leave_min_of_top_k_and_eligible(caller: Caller) -> None:
    blue = search_pb2.Filter(base_colour=search_pb2.ColourFilter(any_of=["Blue"], by_family=True))
    found = caller.find(product_id=items()[0].id, filter=blue, top_k=100)
    assert {each.product.base_colour for each in found.products} == {"Blue", "Navy Blue"}
    assert len(found.products) == found.applied.eligible_count == 16
    assert len(caller.find(product_id=items()[0].id, filter=blue, top_k=7).products) == 7


def test_products_that_are_not_similar_enough_are_left_out(caller: Caller) -> None:
    query = {"product_id": items()[0].id, "top_k": 10}
    everything = caller.find(**query)
    fourth = everything.products[3].similarity
    expected = [each for each in everything.products if each.similarity >= fourth]
    assert 4 <= len(expected) < 10
    found = caller.find(**query, min_similarity=fourth)
    assert list(found.products) == expected
    assert found.applied.below_min_similarity == 10 - len(expected)
    assert found.applied.eligible_count == everything.applied.eligible_count
    assert everything.applied.below_min_similarity == 0
    least = everything.products[-1].similarity
    assert list(caller.find(**query, min_similarity=least).products) == list(everything.products)


def test_an_answer_says_what_became_of_every_product(caller: Caller) -> None:
    caller.dislike("cat", "Yellow")
    sold_out, excluded = items()[3], items()[5]
    caller.upsert([sold_out.row(in_stock=False), items()[22].row(id="twin", parent_id=items()[22].id)])
    try:
        query = {"product_id": items()[0].id, "user_id": "cat", "top_k": 100, "excluded_product_ids": [excluded.id]}
        reds = search_pb2.Filter(base_colour=search_pb2.ColourFilter(none_of=["Red"]))
        counts = caller.find(**query, filter=reds, min_similarity=0.9).applied.counts
        assert (counts.requested_count, counts.searched_count) == (100, 41)
        assert (counts.filtered_count, counts.out_of_stock_count, counts.disliked_count) == (8, 1, 8)
        assert (counts.excluded_count, counts.variant_count, counts.surplus_count) == (2, 1, 0)
        assert counts.dissimilar_count + counts.returned_count == 41 - 20
        assert 0 < counts.returned_count < 21
        few = caller.find(**query | {"top_k": 3}, filter=reds).applied.counts
        assert (few.surplus_count, few.dissimilar_count, few.returned_count) == (21 - 3, 0, 3)
    finally:
        _delete(caller, "twin")
        caller.upsert([sold_out.row()])


def test_pages_cover_the_catalogue(caller: Caller) -> None:
    seen: list[str] = []
    token = ""
    while True:
        request = search_pb2.ListProductsRequest(page_size=7, page_token=token)
        page = caller.search.ListProducts(request, timeout=20)
        seen += [each.id for each in page.products]
        token = page.next_page_token
        if not token:
            break
    assert seen == [item.id for item in items()]


@pytest.mark.parametrize("size", [0, 501, 2**31 - 1])
def test_a_page_size_out_of_range_is_coerced(caller: Caller, size: int) -> None:
    page = caller.search.ListProducts(search_pb2.ListProductsRequest(page_size=size), timeout=20)
    assert [each.id for each in page.products] == [item.id for item in items()]


def test_an_embedding_that_is_read_can_be_sent_as_query_and_as_row(caller: Caller) -> None:
    read = _get(caller, items()[0].id, include_embedding=True).embedding
    found = caller.find(embedding=read, scope=search_pb2.SEARCH_SCOPE_INVENTORY, top_k=1)
    assert found.products[0].product.id == items()[0].id
    assert found.products[0].similarity == pytest.approx(1.0, abs=1e-3)
    row = search_pb2.ProductRow(product=items()[0].product(id="by-embedding"), embedding=read)
    try:
        assert caller.upsert([row]).results[0].outcome == search_pb2.UPSERT_OUTCOME_CREATED
        assert caller.upsert([row]).results[0].outcome == search_pb2.UPSERT_OUTCOME_UNCHANGED
        with pytest.raises(grpc.RpcError) as error:
            caller.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id="by-embedding"), timeout=20)
        assert refusal(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "PHOTOGRAPH_NOT_FOUND")
    finally:
        _delete(caller, "by-embedding")


def test_dislikes_are_kept_listed_removed_and_forgotten(caller: Caller) -> None:
    search = caller.search
    caller.dislike("bea", "Yellow")
    added = caller.dislike("bea", "Blue", exact=True)
    assert [(each.colour, each.exact) for each in added.colours] == [("Blue", True), ("Yellow", False)]
    left = search.RemoveDislikedColours(
        search_pb2.RemoveDislikedColoursRequest(user_id="bea", colours=["Yellow", "Pink"]), timeout=20
    )
    listed = search.ListDislikedColours(search_pb2.ListDislikedColoursRequest(user_id="bea"), timeout=20)
    kept = search_pb2.DislikedColour(colour="Blue", exact=True, covered_colours=["Blue"])
    assert left.colours == listed.colours == [kept]
    assert search.ForgetUser(search_pb2.ForgetUserRequest(user_id="bea"), timeout=20).existed
    assert not search.ForgetUser(search_pb2.ForgetUserRequest(user_id="bea"), timeout=20).existed


def test_every_write_changes_the_facts(caller: Caller) -> None:
    before = caller.index()
    assert (before.product_count, before.available_count, before.outdated_count) == (40, 40, 0)
    assert [(each.label, each.product_count) for each in before.derived_types] == [
        ("Men Tshirts", 10),
        ("Unisex Backpacks", 10),
        ("Women Dresses", 10),
        ("Women Handbags", 10),
    ]
    written = caller.upsert([items()[0].row(id="one-more", in_stock=False)])
    after = caller.index()
    assert after.index_version == written.index_version == before.index_version + 1
    assert (after.product_count, after.available_count) == (41, 40)
    assert after.update_time.ToDatetime() >= before.update_time.ToDatetime()
    deleted = _delete(caller, "one-more")
    assert deleted.index_version == written.index_version + 1


def test_the_request_id_comes_back(caller: Caller) -> None:
    request = search_pb2.UpsertProductsRequest(rows=[items()[0].row(id="timed")])
    metadata = (("x-request-id", "r-1"),)
    try:
        _, call = caller.search.UpsertProducts.with_call(request, timeout=20, metadata=metadata)
        assert dict(call.trailing_metadata())["x-request-id"] == "r-1"
    finally:
        _delete(caller, "timed")


def test_a_passed_deadline_is_an_error(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as error:
        caller.search.FindSimilar(search_pb2.FindSimilarRequest(product_id=items()[0].id), timeout=0.000001)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caller.find(product_id=items()[0].id).products


def test_all_three_services_answer_on_the_one_port_and_describe_themselves(caller: Caller) -> None:
    image = types_pb2.Image(content=photograph("Women Dresses"))
    embedded = embedder_pb2_grpc.EmbedderServiceStub(caller.channel).Embed(
        embedder_pb2.EmbedRequest(image=image), timeout=20
    )
    classified = classifier_pb2_grpc.ClassifierServiceStub(caller.channel).Classify(
        classifier_pb2.ClassifyRequest(embedding=embedded.embedding), timeout=20
    )
    assert classified.classification.derived_types[0].label == "Women Dresses"
    described = set(ProtoReflectionDescriptorDatabase(caller.channel).get_services())
    assert {f"fashion.v1.{name}Service" for name in ("Embedder", "Classifier", "Search")} <= described


def test_a_stack_that_starts_again_knows_everything(tmp_path: Path) -> None:
    settings = stack_settings(tmp_path)
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        caller.dislike("ann", "Red")
        before = caller.find(product_id=items()[0].id, user_id="ann", top_k=100)
        facts = caller.index()
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        assert caller.find(product_id=items()[0].id, user_id="ann", top_k=100) == before
        assert caller.index() == facts
