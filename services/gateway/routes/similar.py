"""Similar products over HTTP: for a product, for a photograph, steered by likes and dislikes; and garments."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.access.access import Access
from services.gateway.backend import Backend
from services.gateway.conversion.answers import garments_from_proto, similar_products_from_proto
from services.gateway.conversion.requests import image_to_proto, similar_request_to_proto
from services.gateway.middleware.request import path_value
from services.gateway.routes.products import ProductId
from services.gateway.schema import answers
from services.gateway.schema.caching import PRIVATE, public
from services.gateway.schema.openapi import photograph_bodies, problems, similar_bodies
from services.gateway.schema.parameters import GarmentParameters, PhotographParameters, SimilarParameters
from services.gateway.schema.similar_body import garments_query, similar_query
from services.gateway.settings import GatewaySettings

_REASONS: Final = (
    "REQUEST_INVALID, FILTER_VALUE_UNKNOWN (names the nearest known ones), YEAR_RANGE_INVALID, PRICE_RANGE_INVALID, "
    "NUMBER_RANGE_INVALID, ATTRIBUTE_FILTER_INVALID, ATTRIBUTE_KIND_MISMATCH, DERIVED_TYPE_UNKNOWN, "
    "SCOPE_INVALID, PRODUCT_ID_INVALID, PRODUCT_ID_DUPLICATE, USER_ID_INVALID"
)


def similar_router(backend: Backend, access: Access, settings: GatewaySettings) -> APIRouter:
    """Makes the routes of similar products."""
    router = APIRouter(tags=["similar products"])

    @router.get(
        "/v1/products/{product_id}/similar",
        summary="Find products similar to one",
        response_model=answers.SimilarProducts,
        responses=problems(401, 403, 404, 409, reasons=_REASONS),
    )
    async def similar_to_product(
        product_id: ProductId, parameters: Annotated[SimilarParameters, Query()], request: Request, response: Response
    ) -> answers.SimilarProducts:
        """Finds the products most similar to one of the catalogue, the most similar first.

        Leaves out the product itself, excluded products, those out of stock, and colours that the user dislikes.
        """
        if parameters.user_id is not None:
            access.require(request, parameters.user_id)
        message = similar_request_to_proto(parameters, path_value(product_id))
        answer = await backend.ask(lambda search: search.find_similar(message))
        # An answer for a user is private; timings and degraded answers are of this request only.
        shared = parameters.user_id is None and not parameters.explain and not answer.applied.degraded
        response.headers["Cache-Control"] = public(settings.public_max_age_s) if shared else PRIVATE
        return similar_products_from_proto(answer)

    @router.post(
        "/v1/similar",
        summary="Find products similar to a photograph, or to a product",
        response_model=answers.SimilarProducts,
        responses=problems(
            401,
            403,
            404,
            408,
            409,
            413,
            415,
            reasons=f"{_REASONS}, IMAGE_MISSING, IMAGE_EMPTY, IMAGE_UNREADABLE, IMAGE_TOO_SMALL, "
            "IMAGE_TOO_MANY_PIXELS, IMAGE_TOO_COMPLEX, IMAGE_FORMAT_UNSUPPORTED, REGION_INVALID, BODY_MALFORMED",
        ),
        openapi_extra=similar_bodies(),
    )
    async def similar(
        _: Annotated[PhotographParameters, Query()], request: Request, response: Response
    ) -> answers.SimilarProducts:
        """Finds the products most similar to a photograph, searched in the type that it is recognised as.

        Send a form with a file `image`, a photograph alone with parameters in the query, or JSON that names a product.
        Parameters of the body replace those of the query. The photograph is never kept: it stays in memory for the time
        of the request, on no disk and in no log.
        """
        parameters, query = await similar_query(request, settings.upload_timeout_s, settings.max_image_bytes)
        request.state.parameters = parameters.model_dump(mode="json", exclude_unset=True)
        if parameters.user_id is not None:
            access.require(request, parameters.user_id)
        message = similar_request_to_proto(parameters, query)
        answer = await backend.ask(lambda search: search.find_similar(message))
        response.headers["Cache-Control"] = PRIVATE
        return similar_products_from_proto(answer)

    @router.post(
        "/v1/garments",
        summary="Find the garments in a photograph",
        response_model=answers.Garments,
        responses=problems(
            408,
            413,
            415,
            501,
            reasons="REQUEST_INVALID, IMAGE_MISSING, IMAGE_EMPTY, IMAGE_UNREADABLE, IMAGE_TOO_SMALL, "
            "IMAGE_TOO_MANY_PIXELS, REGION_INVALID, BODY_MALFORMED",
        ),
        openapi_extra=photograph_bodies(GarmentParameters),
    )
    async def garments(
        _: Annotated[GarmentParameters, Query()], request: Request, response: Response
    ) -> answers.Garments:
        """Finds the garments in a photograph, so that a page can offer them.

        The region of each, sent with the photograph to `/v1/similar`, finds what is similar to it. The photograph is
        never kept.
        """
        parameters, image = await garments_query(request, settings.upload_timeout_s, settings.max_image_bytes)
        message = image_to_proto(image, parameters.region)
        answer = await backend.ask(lambda search: search.detect_garments(message))
        response.headers["Cache-Control"] = PRIVATE
        return answers.Garments(garments=garments_from_proto(answer.garments))

    return router
