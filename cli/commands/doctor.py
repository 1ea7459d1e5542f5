"""`fashion doctor`: asks a running deployment how it is, and says in plain words what is wrong and what to do."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client
from services.contract.errors import FashionError, NotFound

if TYPE_CHECKING:
    import ssl

    import httpx

    from fashion.v1 import search_pb2
    from services.clients.search import SearchClient

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_DEFAULT_GATEWAY = "http://localhost:8080"
# What the types of all problem documents of the gateway begin with; its schema takes long to import.
_PROBLEM_TYPES = "urn:fashion:problem:"
_SLOW_S = 0.5
_TIMEOUT_S = 5.0
# From this many days before its end, a certificate should be renewed.
_RENEWAL_DAYS = 10
_SIGNS = {"well": "[green]well[/]", "look": "[yellow]look[/]", "ill": "[red]ill [/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one question found.

    Attributes:
        state: "well"; "look" at what may be meant; "ill" for what does not work.
        what: what was found, as a sentence.
        advice: what to do; empty where it is well.
    """

    state: str
    what: str
    advice: str = ""


@app.command(
    epilog=(
        "Examples:\n\nfashion doctor\n\nfashion doctor --server search.example:50053 --gateway http://shop.example:8080\n\n"
        '--json prints a list of {"state", "what", "advice"}; states are well, look and ill.\n\n'
        "Exit codes: 0 nothing is ill · 1 something is"
    )
)
def doctor(
    server: Server = DEFAULT_SERVER,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            metavar="URL",
            show_default=_DEFAULT_GATEWAY,
            help="The gateway's address; empty where there is none. Where it is named, it has to answer.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running deployment how it is, and say what to do about what is wrong."""
    from cli import output

    findings = with_client(server, lambda client: examined(client, server))
    findings += _certificate("search", server, alpn="h2")
    url = (_DEFAULT_GATEWAY if gateway is None else gateway).rstrip("/")
    if url:
        if url.startswith("https://"):
            findings += _certificate("the gateway", url.removeprefix("https://").partition("/")[0], alpn="http/1.1")
        findings.append(_gateway(url, absent="look" if gateway is None else "ill"))
    if as_json:
        output.print_json([asdict(each) for each in findings])
    else:
        for each in findings:
            output.console().print(_SIGNS[each.state], end="  ")
            output.console().print(each.what, markup=False, soft_wrap=True)
            if each.advice:
                output.console().print(f"      {each.advice}", markup=False, soft_wrap=True, style="dim")
    if any(each.state == "ill" for each in findings):
        raise typer.Exit(1)


async def examined(client: "SearchClient", server: str) -> list[Finding]:
    """Returns what questions about a search service find, the ones that others need first."""
    try:
        index = await client.get_index()
    except FashionError as error:
        return [Finding("ill", f"Search at {server} does not answer: {error}", _advice(error))]
    findings = [Finding("well", f"Search at {server} answers, with the model {index.model_version}."), *_index(index)]
    if await client.dislikes_known():
        findings.append(Finding("well", "Disliked colours can be read."))
    else:
        findings.append(
            Finding("ill", "Disliked colours cannot be read: Redis fails.", "The log of search has the cause, once.")
        )
    if index.product_count - index.outdated_count > 0:
        findings += await _queries(client)
    return findings


def _index(index: "search_pb2.GetIndexResponse") -> list[Finding]:
    if not index.product_count:
        return [Finding("look", "The catalogue is empty.", "Put products in: fashion ingest SOURCE.")]
    findings = [Finding("well", f"The catalogue has {index.product_count:,} products.")]
    if index.outdated_count:
        findings.append(
            Finding(
                "look",
                f"{index.outdated_count:,} products wait for an embedding of the served model, and are not found.",
                "That goes on in the background. If the number stays, the log of search says why. Products that came "
                "as embeddings have to be sent again.",
            )
        )
    if not index.available_count:
        findings.append(
            Finding("look", "No product is in stock, so that answers are empty.", "Send in_stock, or leave it absent.")
        )
    return findings


async def _queries(client: "SearchClient") -> list[Finding]:
    """Asks as shoppers do: for a product, then with its photograph."""
    from fashion.v1 import search_pb2, types_pb2

    listed = await client.list_products(page_size=1)
    if not listed.products:
        return []
    product = listed.products[0]

    async def by_product() -> "search_pb2.FindSimilarResponse":
        return await client.find_similar(search_pb2.FindSimilarRequest(product_id=product.id))

    findings = [await _query(f'A query with the product "{product.id}"', by_product)]
    try:
        photograph = await client.get_photograph(product.id)
    except NotFound:
        return [*findings, Finding("look", f'"{product.id}" has no photograph, so that no upload was tried.', "")]
    except FashionError as error:
        return [*findings, Finding("ill", f'The photograph of "{product.id}" cannot be read: {error}', _advice(error))]
    image: types_pb2.Image = types_pb2.Image(content=photograph.content)

    async def by_photograph() -> "search_pb2.FindSimilarResponse":
        return await client.find_similar(search_pb2.FindSimilarRequest(image=image))

    return [*findings, await _query("A query with its photograph", by_photograph)]


async def _query(what: str, ask: "Callable[[], Awaitable[search_pb2.FindSimilarResponse]]") -> Finding:
    from fashion.v1 import search_pb2

    try:
        # The first one may open connections.
        await ask()
        start = time.perf_counter()
        answer = await ask()
    except FashionError as error:
        return Finding("ill", f"{what} fails: {error}", _advice(error))
    seconds = time.perf_counter() - start
    text = f"{what} is answered in {seconds * 1000:.0f} ms, with {len(answer.products)} products"
    missing = [search_pb2.DegradedReason.Name(each) for each in answer.applied.degraded]
    names = ", ".join(name.removeprefix("DEGRADED_REASON_") for name in missing)
    if search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE in answer.applied.degraded:
        return Finding(
            "ill", f"{text}, but without the classifier.", "Its log says why; it needs the embedder's bundle."
        )
    if names:
        return Finding("look", f"{text}, and says {names}.", "docs/api.md says what that means.")
    if seconds > _SLOW_S:
        return Finding("look", f"{text}, which is slow.", "fashion search --explain says which step takes long.")
    return Finding("well", f"{text}.")


def _gateway(url: str, *, absent: str) -> Finding:
    """Asks a gateway whether it is ready.

    Args:
        url: its address.
        absent: the state of the finding where none is there.
    """
    import httpx

    advice = "Name its address: --gateway URL; or --gateway '' where there is none."
    try:
        with httpx.Client(timeout=_TIMEOUT_S, verify=_trust()) as client:
            # Any program may have /readyz.
            known = _is_of_gateway(client.get(f"{url}/v1"))
            answer = client.get(f"{url}/readyz")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(absent, f"No gateway answers at {url} ({type(error).__name__}).", advice)
    if not known:
        return Finding(absent, f"What answers at {url} is no gateway.", advice)
    if answer.status_code != 200:
        return Finding("ill", f"The gateway at {url} is not ready: {answer.text.strip()[:200]}", "See search above.")
    return Finding("well", f"The gateway at {url} is ready.")


def _is_of_gateway(answer: "httpx.Response") -> bool:
    """Tells whether a refusal is a problem document of the gateway."""
    try:
        problem = answer.json()
    except ValueError:
        return False
    return isinstance(problem, dict) and str(problem.get("type")).startswith(_PROBLEM_TYPES)


def _certificate(whose: str, address: str, *, alpn: str) -> list[Finding]:
    """Says when a certificate ends; nothing where there is no TLS, or no connection, which other findings say."""
    import socket
    import ssl
    from datetime import UTC, datetime
    from urllib.parse import urlsplit

    from services.serving.settings import ClientSettings, read_settings

    own, parts = read_settings(ClientSettings), urlsplit(f"//{address}")
    if (own.tls_ca_file is None and alpn == "h2") or parts.hostname is None:
        return []
    context = _trust()
    context.set_alpn_protocols([alpn])
    name = own.tls_server_name if alpn == "h2" and own.tls_server_name else parts.hostname
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            shown = connection.getpeercert() or {}
    except OSError:
        return []
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    text = f"The certificate of {whose} ends on {end:%Y-%m-%d}"
    if (end - datetime.now(UTC)).days < _RENEWAL_DAYS:
        return [Finding("look", f"{text}.", "Renew it: replace its files; docs/operating.md, Securing.")]
    return [Finding("well", f"{text}.")]


def _trust() -> "ssl.SSLContext":
    """Returns whom a gateway with TLS is compared with, and what proves this caller, as for calls over gRPC."""
    import ssl

    from services.serving.settings import ClientSettings, read_settings

    own = read_settings(ClientSettings)
    context = ssl.create_default_context(cafile=own.tls_ca_file)
    if own.tls_certificate_file is not None:
        context.load_cert_chain(own.tls_certificate_file, own.tls_key_file)
    return context


def _advice(error: FashionError) -> str:
    if error.reason in {"EMBEDDER_UNAVAILABLE", "MODEL_NOT_READY"}:
        return "Look whether the embedder runs, and into its log; a start takes some seconds."
    if error.reason == "INDEX_NOT_READY":
        return "It is starting: wait some seconds. If it stays so, its log says what it waits for."
    if error.reason == "SEARCH_UNAVAILABLE":
        return "Start it (make up, fashion serve), or name its address: --server HOST:PORT."
    return f"docs/errors.md explains {error.reason}." if error.reason else "The log of the service says more."
