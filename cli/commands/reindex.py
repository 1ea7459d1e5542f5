"""`fashion reindex`: changes the model of a running search, without a pause."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server
from services.contract.errors import FailedPrecondition

if TYPE_CHECKING:
    from fashion.v1 import reindex_pb2
    from services.clients.reindex import ReindexClient

app = typer.Typer(
    rich_markup_mode="rich",
    add_completion=False,
    epilog=(
        "Examples:\n\nfashion reindex --bundle models/next --canaries canaries.csv\n\nfashion reindex status\n\n"
        "fashion reindex --rollback\n\nfashion reindex end\n\n"
        "Without --bundle, a second embedder serves the next model: SEARCH_NEXT_EMBEDDER_TARGET "
        "(docs/operating.md). The file of canaries has the columns query and expected: a product's id or the path of a "
        "photograph, and types such as 'Men Shirts|Shirts'.\n\n"
        "Exit codes: 0 done · 1 the gate has not passed, or it cannot be done now · 2 bad input"
    ),
)

Force = Annotated[bool, typer.Option("--force", help="Although the gate has not passed, or its embedder is silent.")]
_POLL_S = 1.0


@app.callback(invoke_without_command=True)
def reindex(
    context: typer.Context,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="The next bundle, on the machine of the stack.")
    ] = None,
    canaries: Annotated[
        Path | None, typer.Option("--canaries", metavar="FILE", help="CSV of queries with known answers.")
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Wait for `fashion reindex switch` once the gate passes.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the previous model, at once.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; the server goes on by itself.")] = False,
    force: Force = False,
    min_overlap: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the ten nearest, least share in common with before. [0.1]")
    ] = None,
    max_label_loss: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Most loss of neighbours of the product's own type. [0.02]")
    ] = None,
    min_canary_share: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Least share of the canaries that pass. [1]")
    ] = None,
    max_lost_products: Annotated[
        int | None, typer.Option(metavar="N", help="Most products that the next model does not find. [0]")
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Change the model: build its embeddings beside the live ones, compare, switch, and go back."""
    if context.invoked_subcommand is not None:
        return
    if rollback:
        _do(server, lambda client: client.rollback(force=force), as_json)
        return
    from cli.output import bundle_named_by
    from fashion.v1 import reindex_pb2

    gate = reindex_pb2.Gate(
        min_overlap=min_overlap,
        max_label_loss=max_label_loss,
        min_canary_share=min_canary_share,
        max_lost_products=max_lost_products,
    )
    request = reindex_pb2.StartReindexRequest(
        bundle="" if bundle is None else _located(bundle),
        gate=gate,
        canaries=[] if canaries is None else _canaries(canaries),
        hold=hold,
    )

    async def start(client: "ReindexClient") -> "reindex_pb2.Reindex":
        state = await client.start(request)
        return state if detach else await _followed(client, state)

    with bundle_named_by("--bundle, as the machine of the stack finds it"):
        state = _do(server, start, as_json)
    if not detach and state.other.status == reindex_pb2.GENERATION_STATUS_REFUSED:
        raise typer.Exit(1)


@app.command()
def status(as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show the live model, the next or the previous one, and how far it is."""
    _do(server, lambda client: client.state(), as_json)


@app.command()
def switch(force: Force = False, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Make the next model live."""
    _do(server, lambda client: client.switch(force=force), as_json)


@app.command()
def end(force: Force = False, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Give up the next model, or finish with the previous one: then there is no way back."""
    _do(server, lambda client: client.end(force=force), as_json)


def _located(bundle: Path) -> str:
    """Returns a bundle's folder as the stack finds it, wherever that was started."""
    return str(bundle.absolute()) if bundle.exists() else str(bundle)


def _canaries(file: Path) -> "list[reindex_pb2.Canary]":
    import csv

    from fashion.v1 import reindex_pb2, types_pb2

    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            if not {"query", "expected"} <= set(table.fieldnames or ()):
                raise typer.BadParameter("its first line must name query and expected.", param_hint="--canaries")
            rows = [*table]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"it cannot be read: {error}", param_hint="--canaries") from None
    canaries: list[reindex_pb2.Canary] = []
    for row in rows:
        query, expected = row["query"].strip(), [each.strip() for each in row["expected"].split("|") if each.strip()]
        photograph = file.parent / query
        canary = reindex_pb2.Canary(name=query[:200], expected_types=expected)
        if photograph.is_file():
            canary.image.CopyFrom(types_pb2.Image(content=photograph.read_bytes()))
        else:
            canary.product_id = query
        canaries.append(canary)
    return canaries


def _do(
    server: str, work: "Callable[[ReindexClient], Awaitable[reindex_pb2.Reindex]]", as_json: bool
) -> "reindex_pb2.Reindex":
    import asyncio

    from cli import output
    from services.clients.reindex import ReindexClient

    async def connected() -> "reindex_pb2.Reindex":
        async with ReindexClient.connect(server) as client:
            return await work(client)

    state = asyncio.run(connected())
    if as_json:
        output.print_json(output.message_document(state))
    else:
        _show(state)
    return state


async def _followed(client: "ReindexClient", state: "reindex_pb2.Reindex") -> "reindex_pb2.Reindex":
    """Shows how far the next generation is, until it has switched or waits for an operator."""
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cli import output
    from fashion.v1 import reindex_pb2
    from services.contract.errors import Unavailable

    next_version, hold_is_done = state.other.model_version, reindex_pb2.GENERATION_STATUS_READY
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.errors(), transient=True) as progress:
        task = progress.add_task("embedding products", total=None)
        ready = 0
        while True:
            total = max(state.product_count, 1)
            doing = state.trouble or ("embedding products" if state.missing_count else "comparing")
            progress.update(task, description=doing, total=total, completed=total - state.missing_count)
            if state.live.model_version == next_version:
                return state
            if not state.HasField("other"):
                raise FailedPrecondition("The reindex was ended meanwhile.", reason="NO_OTHER_GENERATION")
            if state.other.status == reindex_pb2.GENERATION_STATUS_REFUSED:
                return state
            # A generation that is not held switches within a moment.
            ready = ready + 1 if state.other.status == hold_is_done else 0
            if ready > 5:
                return state
            await asyncio.sleep(_POLL_S)
            try:
                state = await client.state()
            except Unavailable:
                # Search may be starting again, and then goes on.
                continue


def _show(state: "reindex_pb2.Reindex") -> None:
    from cli import output
    from fashion.v1 import reindex_pb2

    names = {
        reindex_pb2.GENERATION_STATUS_LIVE: "live",
        reindex_pb2.GENERATION_STATUS_BUILDING: "being built",
        reindex_pb2.GENERATION_STATUS_READY: "ready: `fashion reindex switch`",
        reindex_pb2.GENERATION_STATUS_REFUSED: "the gate has not passed",
        reindex_pb2.GENERATION_STATUS_PREVIOUS: "previous: `fashion reindex --rollback` goes back",
    }
    rows = [
        ("live model", state.live.model_version, f"since {state.live.status_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")
    ]
    if state.HasField("other"):
        loaded = "" if state.other.loaded else "; not loaded yet"
        rows.append(("other model", state.other.model_version, names.get(state.other.status, "") + loaded))
        if state.missing_count:
            left = f", about {state.remaining.seconds:,} s left" if state.HasField("remaining") else ""
            rows.append(("to embed", f"{state.missing_count:,} of {state.product_count:,} products", left.lstrip(", ")))
    if state.failed_product_ids:
        ids = ", ".join(state.failed_product_ids[:5])
        rows.append(
            ("cannot be embedded", f"{len(state.failed_product_ids):,} products", f"such as {ids}; see the log")
        )
    if state.HasField("comparison"):
        comparison = state.comparison
        lost = f"{comparison.live_count:,} before; {comparison.lost_count:,} lost"
        before = f"{comparison.live_label_agreement:.1%} before"
        rows += [
            ("found", f"{comparison.next_count:,}", lost),
            ("overlap@10", f"{comparison.overlap:.1%}", f"of {comparison.sample_count:,} products"),
            ("own type in ten", f"{comparison.next_label_agreement:.1%}", before),
        ]
        if comparison.canaries:
            passed = sum(each.next_passed for each in comparison.canaries)
            passed_before = sum(each.live_passed for each in comparison.canaries)
            rows.append(("canaries", f"{passed} of {len(comparison.canaries)}", f"{passed_before} before"))
    to = output.console()
    last: dict[str, Any] = {"overflow": "fold", "no_wrap": False}
    to.print(output.plain_table([("Reindex", {"style": "dim"}), ("", {}), ("", last)], rows))
    for canary in state.comparison.canaries:
        if not canary.next_passed:
            to.print(f"canary {canary.name}: finds {canary.next_type or 'nothing'}", markup=False)
    for reason in state.comparison.reasons:
        to.print(reason, markup=False)
    if state.trouble:
        to.print(state.trouble, style="yellow", markup=False)
