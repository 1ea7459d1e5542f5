"""The catalogue over HTTP: products, pages and facets."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.access.access import Access
from services.gateway.backend import Backend
from services.gateway.conversion.answers import (
    index_from_proto,
    product_from_proto,
    product_page_from_proto,
    update_results_from_proto,
)
from services.gateway.conversion.facets import facets_from_proto
from services.gateway.conversion.requests import filter_to_proto, order_to_proto, product_update_to_proto
from services.gateway.middleware.request import path_value
from services.gateway.schema import answers
from services.gateway.schema.caching import PRIVATE, public
from services.gateway.schema.openapi import problems
from services.gateway.schema.parameters import FilterParameters, ListParameters
from services.gateway.schema.product_changes import (
    MERGE_PATCH,
    BatchUpdate,
    ProductChange,
    batch_update,
    change_bodies,
    product_change,
)
from services.gateway.settings import GatewaySettings
from services.serving.conversion import row_error_from_proto

_FILTER_REASONS: Final = "REQUEST_INVALID, FILTER_VALUE_UNKNOWN (names the nearest known ones), YEAR_RANGE_INVALID"

_CHANGE_REASONS: Final = (
    "REQUEST_INVALID, BODY_MALFORMED, PRODUCT_ID_INVALID, UPDATE_MASK_INVALID, SUB_CATEGORY_MISSING, "
    "ARTICLE_TYPE_MISSING, LABEL_INVALID, YEAR_INVALID, URL_INVALID, PRICE_INVALID, ATTRIBUTE_INVALID, "
    "TOO_MANY_ATTRIBUTES"
)

ProductId = Annotated[
    str,
    Path(
        description="The shop's own identifier, percent-encoded.",
        examples=["10014"],
        min_length=1,
        max_length=512,
    ),
]


def products_router(backend: Backend, access: Access, settings: GatewaySettings) -> APIRouter:
    """Makes the routes of the catalogue."""
    router = APIRouter(tags=["catalogue"])
    cached = public(settings.public_max_age_s)

    @router.get(
        "/v1/products",
        summary="List products",
        response_model=answers.ProductPage,
        responses=problems(reasons=f"{_FILTER_REASONS}, PAGE_TOKEN_INVALID"),
    )
    async def list_products(parameters: Annotated[ListParameters, Query()], response: Response) -> answers.ProductPage:
        """Lists a page of the products that pass a filter, in stock or not."""
        filter = filter_to_proto(parameters)
        page = await backend.ask(
            lambda search: search.list_products(
                filter,
                order=order_to_proto(parameters.order),
                page_size=parameters.page_size,
                page_token=parameters.page_token,
            )
        )
        response.headers["Cache-Control"] = cached
        return product_page_from_proto(page)

    @router.get(
        "/v1/facets",
        summary="Count products by attribute",
        response_model=answers.Facets,
        responses=problems(reasons=_FILTER_REASONS),
    )
    async def list_facets(parameters: Annotated[FilterParameters, Query()], response: Response) -> answers.Facets:
        """Lists the values of each attribute, and how many products have them."""
        filter = filter_to_proto(parameters)
        facets = await backend.ask(lambda search: search.list_facets(filter))
        response.headers["Cache-Control"] = cached
        return facets_from_proto(facets)

    @router.get("/v1/index", summary="Describe the catalogue", response_model=answers.Index, responses=problems())
    async def get_index(response: Response) -> answers.Index:
        """Returns counts and versions, and what is usual for a similarity."""
        index = await backend.ask(lambda search: search.get_index())
        response.headers["Cache-Control"] = cached
        return index_from_proto(index)

    @router.get(
        "/v1/products/{product_id}",
        summary="Get a product",
        response_model=answers.Product,
        responses=problems(404, reasons="PRODUCT_ID_INVALID"),
    )
    async def get_product(product_id: ProductId, response: Response) -> answers.Product:
        """Returns one product of the catalogue."""
        answer = await backend.ask(lambda search: search.get_product(path_value(product_id)))
        response.headers["Cache-Control"] = cached
        return product_from_proto(answer.product)

    @router.patch(
        "/v1/products/{product_id}",
        summary="Change a product",
        response_model=answers.Product,
        responses=problems(403, 404, 413, 415, reasons=_CHANGE_REASONS),
        openapi_extra=change_bodies(ProductChange, MERGE_PATCH),
    )
    async def update_product(product_id: ProductId, request: Request, response: Response) -> answers.Product:
        """Changes the fields that the body names, and returns the product.

        Only from the gateway's own machine, or with a key of the scope `write`.
        The body is a JSON merge patch: null forgets a field, and what is absent stays. Nothing is embedded.
        """
        access.require_local(request)
        change = await product_change(request, settings.upload_timeout_s)
        access.count_rows(request, 1)
        update = product_update_to_proto(path_value(product_id), change)
        answer = await backend.ask(lambda search: search.update_products([update]))
        if (error := row_error_from_proto(answer.results[0].status)) is not None:
            raise error
        changed = await backend.ask(lambda search: search.get_product(update.product.id))
        response.headers["Cache-Control"] = PRIVATE
        return product_from_proto(changed.product)

    @router.post(
        "/v1/products:batchUpdate",
        summary="Change several products",
        response_model=answers.UpdateResults,
        responses=problems(403, 413, 415, reasons="REQUEST_INVALID, BODY_MALFORMED"),
        openapi_extra=change_bodies(BatchUpdate),
    )
    async def update_products(request: Request, response: Response) -> answers.UpdateResults:
        """Changes up to 500 products, each with a result of its own.

        Only from the gateway's own machine, or with a key of the scope `write`.
        """
        access.require_local(request)
        batch = await batch_update(request, settings.upload_timeout_s)
        access.count_rows(request, len(batch.updates))
        updates = [product_update_to_proto(each.id, each) for each in batch.updates]
        answer = await backend.ask(lambda search: search.update_products(updates))
        response.headers["Cache-Control"] = PRIVATE
        return update_results_from_proto(answer)

    return router
