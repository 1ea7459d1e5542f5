"""Says how long answers may be kept, and answers what the caller has already (RFC 9110, RFC 9111)."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

PRIVATE: Final = "private, no-store"
# May be kept, but asked about each time.
REVALIDATE: Final = "no-cache"


def public(max_age_s: int) -> str:
    """Lets anybody keep an answer for so many seconds."""
    return f"public, max-age={max_age_s}"


def tagged(request: Request, content: bytes, media_type: str, etag: str, headers: dict[str, str]) -> Response:
    """Answers with some content, or with 304 where the caller has this very content.

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
