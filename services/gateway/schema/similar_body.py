"""Reads the bodies of `POST /v1/similar` and `/v1/garments`: a form with a photograph, a photograph alone, or JSON."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from services.contract.errors import InvalidInput
from services.gateway.schema.parameters import (
    GarmentParameters,
    PhotographParameters,
    SimilarBody,
    SimilarParameters,
    list_fields,
)
from services.gateway.schema.problems import PayloadTooLarge, RequestTimeout, UnsupportedMediaType, validated

IMAGE_FIELD: Final = "image"
# The media types of a photograph. Whether its content is one is for the embedder to say.
_IMAGE_TYPES: Final = {
    "image/jpeg",
    "image/jpg",
    "image/pjpeg",
    "image/png",
    "image/webp",
    "image/avif",
    # The embedder refuses these two, and says what to do.
    "image/heic",
    "image/heif",
    "application/octet-stream",
}
_MAX_JSON_BYTES: Final = 256 * 1024
_MAX_FIELDS: Final = 2000
_MAX_FIELD_BYTES: Final = 4096
_LISTS: Final = list_fields(PhotographParameters)


async def similar_query(
    request: Request, timeout_s: float, max_image_bytes: int
) -> tuple[SimilarParameters, str | bytes]:
    """Reads what to find: parameters, and the id of a product or a photograph's bytes.

    Parameters may also stand in the query. Those of the body take precedence.

    Raises:
        InvalidInput: REQUEST_INVALID, IMAGE_MISSING, IMAGE_EMPTY, BODY_MALFORMED.
        PayloadTooLarge: IMAGE_TOO_LARGE, BODY_TOO_LARGE.
        UnsupportedMediaType: BODY_TYPE_UNSUPPORTED.
        RequestTimeout: UPLOAD_TIMEOUT.
    """
    in_query = _grouped(request.query_params.multi_items())
    if media_type(request) == "application/json":
        async with within(timeout_s):
            fields = json_object(await request.body(), _MAX_JSON_BYTES)
        asked: SimilarBody = validated(SimilarBody, {**in_query, **fields})
        return asked, asked.product_id
    fields, image = await _photograph(request, timeout_s, max_image_bytes, "or application/json")
    return validated(PhotographParameters, {**in_query, **fields}), image


async def garments_query(request: Request, timeout_s: float, max_image_bytes: int) -> tuple[GarmentParameters, bytes]:
    """Reads where to look for garments: parameters, and a photograph's bytes; raises as `similar_query` does."""
    in_query = _grouped(request.query_params.multi_items())
    fields, image = await _photograph(request, timeout_s, max_image_bytes, "")
    return validated(GarmentParameters, {**in_query, **fields}), image


async def picture(request: Request, timeout_s: float, max_image_bytes: int) -> bytes:
    """Reads a body that is a photograph and nothing else; raises as `similar_query` does.

    A page of another site can send a form without asking first, but no picture.
    """
    if media_type(request) not in _IMAGE_TYPES:
        raise UnsupportedMediaType(
            "Send a photograph as the body: image/jpeg, image/png, image/webp or image/avif.",
            reason="BODY_TYPE_UNSUPPORTED",
        )
    _, image = await _photograph(request, timeout_s, max_image_bytes, "")
    return image


def media_type(request: Request) -> str:
    """Returns the media type of a body, in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


async def _photograph(
    request: Request, timeout_s: float, max_image_bytes: int, alternative: str
) -> tuple[Mapping[str, Any], bytes]:
    """Reads a form with a photograph, or a photograph alone: the form's other fields, and the photograph's bytes."""
    async with within(timeout_s):
        if media_type(request) == "multipart/form-data":
            fields, image = await _form(request)
        elif media_type(request) in _IMAGE_TYPES:
            fields, image = {}, await request.body()
        else:
            types = f"a photograph (image/jpeg, image/png, image/webp, image/avif) {alternative}".strip()
            raise UnsupportedMediaType(
                f"Send multipart/form-data, {types}.",
                reason="BODY_TYPE_UNSUPPORTED",
            )
    if not image:
        raise InvalidInput("The image is empty: 0 bytes.", reason="IMAGE_EMPTY", metadata={"field": IMAGE_FIELD})
    if len(image) > max_image_bytes:
        raise PayloadTooLarge(
            f"The image has {len(image)} bytes. At most {max_image_bytes} are accepted.",
            reason="IMAGE_TOO_LARGE",
            metadata={"bytes": str(len(image)), "max_bytes": str(max_image_bytes)},
        )
    return fields, image


@asynccontextmanager
async def within(timeout_s: float) -> AsyncIterator[None]:
    """Reads a body in time.

    Raises:
        RequestTimeout: UPLOAD_TIMEOUT.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {timeout_s:g} s.", reason="UPLOAD_TIMEOUT") from None


class _InMemoryParser(MultiPartParser):
    """Writes no file: a shopper's photograph reaches no disk. The middleware bounds what is held."""

    # Zero means that nothing is too large for memory.
    spool_max_size = 0


async def _form(request: Request) -> tuple[Mapping[str, Any], bytes]:
    try:
        parser = _InMemoryParser(
            request.headers,
            request.stream(),
            max_files=1,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD_BYTES,
        )
        form = await parser.parse()
        try:
            items = form.multi_items()
            images = [value for name, value in items if name == IMAGE_FIELD]
            if len(images) != 1 or not isinstance(images[0], UploadFile):
                raise InvalidInput(
                    f'The form must hold one file named "{IMAGE_FIELD}".',
                    reason="IMAGE_MISSING",
                    metadata={"field": IMAGE_FIELD},
                )
            texts = [(name, value) for name, value in items if name != IMAGE_FIELD]
            file = next((name for name, value in texts if not isinstance(value, str)), None)
            if file is not None:
                raise InvalidInput(
                    f'The form holds a file "{file[:64]}"; only {IMAGE_FIELD} may be one.',
                    reason="REQUEST_INVALID",
                    metadata={"field": file[:64]},
                )
            return _grouped(cast(list[tuple[str, str]], texts)), await images[0].read()
        finally:
            await form.close()
    except MultiPartException as error:
        raise malformed(error.message) from error
    except (ValueError, KeyError, AttributeError, UnicodeError) as error:
        raise malformed("it is not a form that can be read") from error


def json_object(content: bytes, max_bytes: int) -> Mapping[str, Any]:
    """Returns a body that is a JSON object.

    Raises:
        InvalidInput: BODY_MALFORMED.
        PayloadTooLarge: BODY_TOO_LARGE.
    """
    if len(content) > max_bytes:
        raise PayloadTooLarge(
            f"A JSON body may have at most {max_bytes} bytes.",
            reason="BODY_TOO_LARGE",
            metadata={"max_bytes": str(max_bytes)},
        )
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise malformed("it is not JSON") from error
    if not isinstance(fields, dict):
        raise malformed("it is not a JSON object")
    return fields


def _grouped(items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Gathers repeated parameters. Keeps both values of one that may not be repeated, so that it is refused."""
    values: dict[str, list[str]] = {}
    for name, value in items:
        values.setdefault(name, []).append(value)
    return {name: found if name in _LISTS or len(found) > 1 else found[0] for name, found in values.items()}


def malformed(why: str) -> InvalidInput:
    """Returns the error for a body that cannot be read: BODY_MALFORMED."""
    return InvalidInput(f"The body of the request cannot be read: {why[:200].rstrip('.')}.", reason="BODY_MALFORMED")
