"""Answers the main query for many products of the catalogue at once, for lists that are made in advance."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from services.contract.errors import FashionError, InvalidInput, ModelMismatch, NotFound
from services.search.indexes.base import Eligibility, IndexAnswer, Search
from services.search.query.find_similar import SimilarAnswer, SimilarFinder, SimilarQuery
from services.search.query.request import SimilarRequest

MAX_BATCH_PRODUCTS: Final = 500
# Products that a thread searches for without a pause, about 40 ms: other queries need the threads too.
_GROUP: Final = 16


async def batch_find_similar(
    finder: SimilarFinder, product_ids: Sequence[str], request: SimilarRequest
) -> list[SimilarAnswer | FashionError]:
    """Finds for each of some products what `SimilarFinder.find_similar` finds.

    Args:
        finder: finds similar products.
        product_ids: 1 to 500 products of the catalogue.
        request: what is asked for each of them; it has no query and no `explain`.

    Returns:
        One result per product, in their order: the answer, or why there is none. That is InvalidInput
        (PRODUCT_ID_INVALID), NotFound (PRODUCT_NOT_FOUND) or ModelMismatch (MODEL_VERSION_MISMATCH), the last two also
        for a liked or a disliked product.

    Raises:
        InvalidInput: BATCH_EMPTY, BATCH_TOO_LARGE, BATCH_OPTION_INVALID, DERIVED_TYPE_UNKNOWN, those of
            `SimilarRequest.check_options`, and those of the filter.
        Overloaded: QUEUE_FULL.
        Unavailable: PREFERENCES_UNAVAILABLE, if they are required.
    """
    _check(product_ids, request)
    request = replace(request, query=product_ids[0])
    request.check_options()
    await finder.check_scope(request)
    common = SimilarQuery(finder, request)
    if request.user_id:
        await common.read_dislikes()
    prepared: list[tuple[SimilarQuery, Eligibility] | FashionError] = []

    def searches() -> Iterator[Search]:
        for product_id in product_ids:
            query = common.of_product(product_id)
            try:
                direction, eligibility = query.prepared()
            except (InvalidInput, NotFound, ModelMismatch) as error:
                prepared.append(error)
            else:
                prepared.append((query, eligibility))
                yield Search(direction, request.top_k, eligibility, request.ranking)

    found: list[IndexAnswer] = []
    remaining = finder.inventory.index.search_many(searches())
    while group := await finder.workers.run(lambda: list(islice(remaining, _GROUP))):
        found += group
    answers = iter(found)
    return [each if isinstance(each, FashionError) else each[0].answered(each[1], next(answers)) for each in prepared]


def _check(product_ids: Sequence[str], request: SimilarRequest) -> None:
    if not product_ids:
        raise InvalidInput("The batch is empty: name at least one product.", reason="BATCH_EMPTY")
    if len(product_ids) > MAX_BATCH_PRODUCTS:
        raise InvalidInput(
            f"The batch has {len(product_ids)} products; at most {MAX_BATCH_PRODUCTS} are allowed.",
            reason="BATCH_TOO_LARGE",
            metadata={"max_rows": str(MAX_BATCH_PRODUCTS)},
        )
    for name, given in (("query", request.query is not None), ("explain", request.explain)):
        if given:
            raise InvalidInput(
                f"The options of a batch must not have {name}: leave it out, or call FindSimilar.",
                reason="BATCH_OPTION_INVALID",
                metadata={"field": f"options.{name}"},
            )
