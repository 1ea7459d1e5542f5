"""The photographs of products over HTTP: one in the size that a page needs, one more, one less."""

from enum import IntEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.contract.values import MAX_PHOTOGRAPHS
from services.gateway.access.access import Access
from services.gateway.backend import Backend
from services.gateway.conversion.answers import added_photograph_from_proto, product_from_proto
from services.gateway.conversion.requests import image_to_proto
from services.gateway.middleware.request import path_value
from services.gateway.routes.products import ProductId
from services.gateway.schema import answers
from services.gateway.schema.caching import PRIVATE, public, tagged
from services.gateway.schema.openapi import picture_bodies, problems
from services.gateway.schema.parameters import PHOTOGRAPH_PATTERN, AddedPhotographParameters
from services.gateway.schema.similar_body import picture
from services.gateway.settings import GatewaySettings
from services.gateway.thumbnails import JPEG, WEBP, Thumbnails


class Width(IntEnum):
    """The widths of thumbnails, in pixels."""

    W120 = 120
    W240 = 240
    W480 = 480
    W960 = 960


MaxWidth = Annotated[
    Width | None, Query(description="Maximum width in pixels; never enlarged. Absent: the file as uploaded.")
]
_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The photograph, upright and at most `width` pixels wide; without `width` as uploaded.",
        "headers": {"ETag": {"description": "Changes with its bytes.", "schema": {"type": "string"}}},
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (JPEG, WEBP, "image/png", "image/avif")
        },
    },
    304: {"description": "The caller has it already: `If-None-Match` is its ETag."},
    **problems(404, reasons="REQUEST_INVALID, PRODUCT_ID_INVALID"),
}


def photographs_router(
    backend: Backend, thumbnails: Thumbnails, access: Access, settings: GatewaySettings
) -> APIRouter:
    """Makes the routes of photographs."""
    router = APIRouter(tags=["catalogue"])

    async def answer(request: Request, product_id: str, index: int, width: Width | None) -> Response:
        decoded_id = path_value(product_id)
        headers = {"Cache-Control": public(settings.image_max_age_s)}
        if width is None:
            file = await thumbnails.original(decoded_id, index)
        else:
            headers["Vary"] = "Accept"
            accepts_webp = WEBP in request.headers.get("accept", "")
            file = await thumbnails.thumbnail(decoded_id, width, WEBP if accepts_webp else JPEG, index)
        return tagged(request, file.content, file.media_type, f'"{file.tag}"', headers)

    @router.get(
        "/v1/products/{product_id}/image",
        summary="Get the first photograph of a product",
        response_class=Response,
        responses=_PICTURES,
    )
    async def get_image(product_id: ProductId, request: Request, width: MaxWidth = None) -> Response:
        """Returns the first photograph of a product; a thumbnail is WebP if the caller accepts it, else JPEG."""
        return await answer(request, product_id, 0, width)

    @router.get(
        "/v1/products/{product_id}/photographs/{photograph}",
        summary="Get a photograph of a product",
        response_class=Response,
        responses=_PICTURES,
    )
    async def get_photograph(
        product_id: ProductId,
        photograph: Annotated[int, Path(description="Its place, counted from 0.", ge=0, lt=MAX_PHOTOGRAPHS)],
        request: Request,
        width: MaxWidth = None,
    ) -> Response:
        """Returns a photograph of a product; a thumbnail is WebP if the caller accepts it, else JPEG."""
        return await answer(request, product_id, photograph, width)

    @router.post(
        "/v1/products/{product_id}/photographs",
        summary="Add a photograph to a product",
        response_model=answers.AddedPhotograph,
        responses=problems(
            403,
            404,
            408,
            409,
            413,
            415,
            reasons="REQUEST_INVALID, PRODUCT_ID_INVALID, TOO_MANY_PHOTOGRAPHS, PHOTOGRAPH_INDEX_INVALID, IMAGE_EMPTY, "
            "IMAGE_UNREADABLE, IMAGE_TOO_SMALL, IMAGE_TOO_MANY_PIXELS, IMAGE_TOO_COMPLEX, IMAGE_FORMAT_UNSUPPORTED, "
            "REGION_INVALID",
        ),
        openapi_extra=picture_bodies(),
    )
    async def add_photograph(
        product_id: ProductId,
        parameters: Annotated[AddedPhotographParameters, Query()],
        request: Request,
        response: Response,
    ) -> answers.AddedPhotograph:
        """Adds the photograph in the body to a product, of at most 8.

        Only from the gateway's own machine, or with a key of the scope `write`.
        One that the product has already is not added again; the others are not embedded again.
        """
        access.require_local(request)
        content = await picture(request, settings.upload_timeout_s, settings.max_image_bytes)
        image = image_to_proto(content, parameters.region)
        answer = await backend.ask(
            lambda search: search.add_photograph(path_value(product_id), image, index=parameters.index)
        )
        response.headers["Cache-Control"] = PRIVATE
        return added_photograph_from_proto(answer)

    @router.delete(
        "/v1/products/{product_id}/photographs/{photograph}",
        summary="Remove a photograph of a product",
        response_model=answers.Product,
        responses=problems(403, 404, reasons="REQUEST_INVALID, PRODUCT_ID_INVALID, LAST_PHOTOGRAPH"),
    )
    async def remove_photograph(
        product_id: ProductId,
        photograph: Annotated[
            str,
            Path(
                description="Its place, counted from 0; or the SHA-256 of its file, which names all photographs of it.",
                pattern=PHOTOGRAPH_PATTERN,
            ),
        ],
        request: Request,
        response: Response,
    ) -> answers.Product:
        """Removes one of several photographs of a product, or all of a file; those after it move up.

        Only from the gateway's own machine, or with a key of the scope `write`.
        """
        access.require_local(request)
        by_place = len(photograph) == 1
        answer = await backend.ask(
            lambda search: search.remove_photograph(
                path_value(product_id),
                int(photograph) if by_place else None,
                sha256=None if by_place else photograph,
            )
        )
        response.headers["Cache-Control"] = PRIVATE
        return product_from_proto(answer.product)

    return router
