"""Disliked colours over HTTP, for callers that may act for the user, and the storefront's tokens."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.access.access import Access
from services.gateway.backend import Backend
from services.gateway.conversion.answers import disliked_colours_from_proto
from services.gateway.middleware.request import path_value
from services.gateway.schema import answers
from services.gateway.schema.caching import PRIVATE
from services.gateway.schema.openapi import problems

UserId = Annotated[
    str,
    Path(description="The user, percent-encoded; the token's `sub`.", examples=["ada"], min_length=1, max_length=512),
]
Colour = Annotated[
    str, Path(description="The colour, percent-encoded.", examples=["Navy%20Blue"], min_length=1, max_length=512)
]


def users_router(backend: Backend, access: Access) -> APIRouter:
    """Makes the routes of users."""
    router = APIRouter(tags=["users"])

    @router.get(
        "/v1/users/{user_id}/disliked-colours",
        summary="List the colours that a user dislikes",
        response_model=answers.DislikedColours,
        responses=problems(401, 403, reasons="USER_ID_INVALID"),
    )
    async def list_colours(user_id: UserId, request: Request, response: Response) -> answers.DislikedColours:
        """Lists the colours that a user dislikes; none for an unknown user."""
        user = _permitted(access, request, user_id)
        response.headers["Cache-Control"] = PRIVATE
        return disliked_colours_from_proto((await backend.ask(lambda s: s.list_disliked_colours(user))).colours)

    @router.put(
        "/v1/users/{user_id}/disliked-colours/{colour}",
        summary="Remember that a user dislikes a colour",
        response_model=answers.DislikedColours,
        responses=problems(401, 403, reasons="USER_ID_INVALID, COLOUR_UNKNOWN (names the nearest known ones)"),
    )
    async def add_colour(
        user_id: UserId,
        colour: Colour,
        request: Request,
        response: Response,
        exact: Annotated[bool, Query(description="Whether only this colour is meant, not its family.")] = False,
    ) -> answers.DislikedColours:
        """Adds a colour, or changes whether it stands for its family; returns all disliked colours."""
        user, name = _permitted(access, request, user_id), path_value(colour)
        answer = await backend.ask(lambda search: search.add_disliked_colours(user, [name], exact=exact))
        response.headers["Cache-Control"] = PRIVATE
        return disliked_colours_from_proto(answer.colours)

    @router.delete(
        "/v1/users/{user_id}/disliked-colours/{colour}",
        summary="Forget that a user dislikes a colour",
        response_model=answers.DislikedColours,
        responses=problems(401, 403, reasons="USER_ID_INVALID"),
    )
    async def remove_colour(
        user_id: UserId, colour: Colour, request: Request, response: Response
    ) -> answers.DislikedColours:
        """Removes a colour, also one that was not disliked; returns all disliked colours."""
        user, name = _permitted(access, request, user_id), path_value(colour)
        answer = await backend.ask(lambda search: search.remove_disliked_colours(user, [name]))
        response.headers["Cache-Control"] = PRIVATE
        return disliked_colours_from_proto(answer.colours)

    @router.delete(
        "/v1/users/{user_id}",
        summary="Erase all data of a user",
        response_model=answers.ForgottenUser,
        responses=problems(401, 403, reasons="USER_ID_INVALID"),
    )
    async def forget(user_id: UserId, request: Request, response: Response) -> answers.ForgottenUser:
        """Erases all data of a user, also of an unknown one."""
        user = _permitted(access, request, user_id)
        forgotten = await backend.ask(lambda search: search.forget_user(user))
        response.headers["Cache-Control"] = PRIVATE
        return answers.ForgottenUser(existed=forgotten.existed)

    return router


def sessions_router(access: Access) -> APIRouter:
    """Makes the route of tokens for the storefront's demo users."""
    router = APIRouter(tags=["storefront"])

    @router.get(
        "/storefront/session",
        summary="Get a token for a demo user of the storefront",
        response_model=answers.Session,
        responses=problems(403),
    )
    async def session(
        request: Request,
        response: Response,
        user_id: Annotated[str, Query(description='"demo-…"', examples=["demo-5f2c"], min_length=6, max_length=128)],
    ) -> answers.Session:
        """Signs a token of a demo user, for the storefront's own pages only."""
        token, expires = access.session(request, user_id)
        response.headers["Cache-Control"] = PRIVATE
        ends = datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")
        return answers.Session(user_id=user_id, token=token, expires_at=ends)

    return router


def _permitted(access: Access, request: Request, user_id: str) -> str:
    user = path_value(user_id)
    access.require(request, user)
    return user
