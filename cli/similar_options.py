"""The options that say what is similar: of a single search, and of the lists that are exported."""

import inspect
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import filters
from cli.options import Command, shared_options
from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from fashion.v1 import search_pb2

STEER: Final = "Who asks, and where to search"


class Scope(Enum):
    """Where to search; AUTO means the whole inventory for a product, the predicted derived type for a photograph."""

    AUTO = "auto"
    PREDICTED_TYPE = "predicted-type"
    INVENTORY = "inventory"


def similar_options(parameter: str, top_k: int) -> Callable[[Command], Command]:
    """Gives a command these options and those of the filter.

    They arrive in `parameter` as a fashion.v1.FindSimilarRequest without a query.

    Args:
        parameter: a keyword-only parameter of the command.
        top_k: the number of products where the option does not say it.
    """
    own = [
        each.replace(default=top_k) if each.name == "top_k" else each
        for each in inspect.signature(build_request).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    return shared_options(parameter, build_request, [*filters.options(), *own])


def build_request(
    *,
    include_out_of_stock: Annotated[
        bool,
        typer.Option("--include-out-of-stock", help="Show products out of stock too.", rich_help_panel=filters.PANEL),
    ] = False,
    variants: Annotated[
        bool,
        typer.Option(
            "--variants", help="Show each variant of a product, such as its sizes.", rich_help_panel=filters.PANEL
        ),
    ] = False,
    designs: Annotated[
        bool,
        typer.Option(
            "--designs",
            help="Group products by name and looks where no parent is known.",
            rich_help_panel=filters.PANEL,
        ),
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="Leave out the colours that this user dislikes.", rich_help_panel=STEER
        ),
    ] = None,
    require_preferences: Annotated[
        bool,
        typer.Option(
            "--require-preferences",
            help="Fail where the user's dislikes cannot be read, instead of answering without them.",
            rich_help_panel=STEER,
        ),
    ] = False,
    liked: Annotated[
        list[str] | None,
        typer.Option("--liked", metavar="ID", help="Lean towards this product too.", rich_help_panel=STEER),
    ] = None,
    disliked: Annotated[
        list[str] | None,
        typer.Option("--disliked", metavar="ID", help="Lean away from this product.", rich_help_panel=STEER),
    ] = None,
    scope: Annotated[
        Scope,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            case_sensitive=False,
            help="predicted-type, inventory or auto: the inventory for a product, the predicted type for a photograph.",
            rich_help_panel=STEER,
        ),
    ] = Scope.AUTO,
    derived_type: Annotated[
        list[str] | None,
        typer.Option(
            "--derived-type",
            metavar="TYPE",
            help='Search only this derived type, such as "Men Tshirts".',
            rich_help_panel=STEER,
        ),
    ] = None,
    widen: Annotated[
        bool,
        typer.Option(
            "--widen",
            help="Where one type has too few, go on to its article type, subCategory and master category.",
            rich_help_panel=STEER,
        ),
    ] = False,
    min_similarity: Annotated[
        float | None,
        typer.Option("--min-similarity", metavar="S", help="Leave out products less similar than this, -1 to 1."),
    ] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option(
            "--boost",
            metavar="RULE",
            help='Move products up or down: a factor of 0.5 to 2 and a filter, such as "1.2 season=Summer".',
        ),
    ] = None,
    diversity: Annotated[
        float,
        typer.Option("--diversity", metavar="D", help="How much the products should differ from one another, 0 to 1."),
    ] = 0.0,
    top_k: Annotated[
        int, typer.Option("--top-k", "--top", "-k", metavar="N", help="Number of similar products, 1 to 100.")
    ] = 10,
    **condition: Any,
) -> "search_pb2.FindSimilarRequest":
    """Makes a request without a query of the options' values.

    Raises:
        InvalidInput: COLLAPSE_INVALID, SCOPE_INVALID, those of `filters.build_filter`, and what is wrong with a boost.
    """
    from fashion.v1 import search_pb2

    if variants and designs:
        raise InvalidInput(
            "The options --variants and --designs exclude each other: leave one of them out.", reason="COLLAPSE_INVALID"
        )
    request = search_pb2.FindSimilarRequest(
        filter=filters.build_filter(**condition),
        include_out_of_stock=include_out_of_stock,
        user_id=user or "",
        liked_product_ids=liked or [],
        disliked_product_ids=disliked or [],
        min_similarity=min_similarity,
        diversity=diversity,
        widen=widen,
        top_k=top_k,
    )
    if boost:
        from services.gateway.conversion.requests import boost_to_proto

        request.boosts.extend(map(boost_to_proto, boost))
    if variants or designs:
        request.collapse = search_pb2.COLLAPSE_NONE if variants else search_pb2.COLLAPSE_DESIGNS
    if require_preferences:
        request.preference_policy = search_pb2.PREFERENCE_POLICY_REQUIRED
    _set_scope(request, scope, derived_type)
    return request


def _set_scope(request: "search_pb2.FindSimilarRequest", scope: Scope, derived_types: list[str] | None) -> None:
    from fashion.v1 import search_pb2

    if derived_types:
        if scope is not Scope.AUTO:
            raise InvalidInput(
                "The options --derived-type and --scope exclude each other: leave one of them out.",
                reason="SCOPE_INVALID",
            )
        request.scope = search_pb2.SEARCH_SCOPE_DERIVED_TYPES
        request.derived_types.extend(derived_types)
    elif scope is Scope.PREDICTED_TYPE:
        request.scope = search_pb2.SEARCH_SCOPE_PREDICTED_TYPE
    elif scope is Scope.INVENTORY:
        request.scope = search_pb2.SEARCH_SCOPE_INVENTORY
