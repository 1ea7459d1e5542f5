"""Cache headers and conditional responses (RFC 9110, RFC 9111)."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

PRIVATE: Final = "private, no-store"
# May be stored, but must be revalidated before each use.
REVALIDATE: Final = "no-cache"


# The content at the address never changes: a year, the most that caches keep.
IMMUTABLE: Final = "public, max-age=31536000, immutable"


def public(max_age_s: int) -> str:
    """Returns the header that lets shared caches store a response for this many seconds."""
    return f"public, max-age={max_age_s}"


def tagged(request: Request, content: bytes, media_type: str, etag: str, headers: dict[str, str]) -> Response:
    """Responds with the content, or with 304 if the caller already has it.

    Args:
        request: may hold If-None-Match.
        content: the whole of it.
        media_type: of the content.
        etag: with its quotes.
        headers: of both answers.
    """
    headers = {**headers, "ETag": etag}
    sent = request.headers.get("if-none-match", "")
    known = {tag.strip().removeprefix("W/") for tag in sent.split(",")}
    if "*" in known or etag.removeprefix("W/") in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
