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

    from cli.handshake import Handshake, Trouble
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
_NAME_SEARCH = "Name the address of search: --server HOST:PORT."
_NAME_GATEWAY = "Name its address: --gateway URL; or --gateway '' where there is none."
_CLIENT_FILES = (
    "Set CLIENT_TLS_CA_FILE, CLIENT_TLS_CERTIFICATE_FILE and CLIENT_TLS_KEY_FILE: docs/operating.md, Securing."
)
_RENEW = "Renew it: replace its files; docs/operating.md, Securing."
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

    handshake = _with_search(server)
    findings = with_client(server, lambda client: examined(client, server, handshake))
    findings += _certificate("search", handshake)
    url = (_DEFAULT_GATEWAY if gateway is None else gateway).rstrip("/")
    if url:
        handshake = _with_gateway(url)
        findings += _certificate("the gateway", handshake)
        findings.append(_gateway(url, handshake, absent="look" if gateway is None else "ill"))
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


async def examined(client: "SearchClient", server: str, handshake: "Handshake") -> list[Finding]:
    """Returns what questions about a search service find, the ones that others need first.

    Args:
        client: of the service.
        server: its address.
        handshake: how one went, for when it does not answer.
    """
    try:
        index = await client.get_index()
    except FashionError as error:
        return [_unanswered(server, error, handshake)]
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


def _gateway(url: str, handshake: "Handshake", *, absent: str) -> Finding:
    """Asks a gateway whether it is ready.

    Args:
        url: its address.
        handshake: how one went, for when it does not answer.
        absent: the state of the finding where none is there.
    """
    import httpx

    try:
        with httpx.Client(timeout=_TIMEOUT_S, verify=_trust()) as client:
            # Any program may have /readyz.
            known = _is_of_gateway(client.get(f"{url}/v1"))
            answer = client.get(f"{url}/readyz")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if handshake.trouble is not None:
            return Finding(absent, *_hindered("the gateway", url, handshake.trouble))
        return Finding(absent, f"No gateway answers at {url} ({type(error).__name__}).", _NAME_GATEWAY)
    if not known:
        return Finding(absent, f"What answers at {url} is no gateway.", _NAME_GATEWAY)
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


def _unanswered(server: str, error: FashionError, handshake: "Handshake") -> Finding:
    if error.reason == "UNIMPLEMENTED":
        return Finding("ill", f"Another service than search answers at {server}.", _NAME_SEARCH)
    if error.reason == "SEARCH_UNAVAILABLE" and handshake.trouble is not None:
        return Finding("ill", *_hindered("search", server, handshake.trouble))
    return Finding("ill", f"Search at {server} does not answer: {error}", _advice(error))


def _hindered(whose: str, address: str, trouble: "Trouble") -> tuple[str, str]:
    """Returns what hinders a connection, and what to do about it."""
    from cli.handshake import Trouble
    from services.serving.settings import ClientSettings, read_settings

    is_search = whose == "search"
    authorities = "CLIENT_TLS_CA_FILE" if read_settings(ClientSettings).tls_ca_file else "this system"
    renaming = " Or set CLIENT_TLS_SERVER_NAME to one of them." if is_search else ""
    naming = _NAME_SEARCH if is_search else _NAME_GATEWAY
    at = f"{whose} at {address}"
    what, advice = {
        Trouble.UNKNOWN_HOST: (f"The host of {at} is unknown.", naming),
        Trouble.NOTHING_LISTENS: (
            f"Nothing listens for {at}.",
            f"Start it (make up, fashion serve). {naming}",
        ),
        Trouble.SILENT: (
            f"Something listens for {at} and says nothing.",
            "It hangs, or is another program: look into its log, and start it again.",
        ),
        Trouble.SPEAKS_TLS: (
            (f"{at} speaks TLS, and CLIENT_TLS_CA_FILE is not set.", _CLIENT_FILES)
            if is_search
            else (f"{at} speaks TLS.", "Begin its address with https://.")
        ),
        Trouble.SPEAKS_NO_TLS: (
            (f"{at} speaks no TLS, and CLIENT_TLS_CA_FILE is set.", f"Unset CLIENT_TLS_CA_FILE. {naming}")
            if is_search
            else (f"{at} speaks no TLS.", "Begin its address with http://.")
        ),
        Trouble.OTHER_AUTHORITY: (
            f"The certificate of {at} is signed by another authority than {authorities} trusts.",
            "Set CLIENT_TLS_CA_FILE to the certificate of the authority that signed it.",
        ),
        Trouble.OTHER_NAME: (
            f"The certificate of {at} has other names than the one that is called.",
            f"Call it by a name in its certificate.{renaming}",
        ),
        Trouble.EXPIRED: (f"The certificate of {at} has ended.", _RENEW),
        Trouble.NOT_YET_VALID: (f"The certificate of {at} is not valid yet.", "Compare the clocks of both machines."),
        Trouble.WANTS_CERTIFICATE: (f"{at} wants a certificate of its callers, and has got none.", _CLIENT_FILES),
        Trouble.REFUSES_CERTIFICATE: (
            f"{at} does not accept the certificate of CLIENT_TLS_CERTIFICATE_FILE.",
            "It has ended, or its authority is none of the server's SERVER_TLS_CLIENT_CA_FILE: take another one.",
        ),
    }[trouble]
    return what[0].upper() + what[1:], advice


def _with_search(server: str) -> "Handshake":
    """Tries a handshake as calls over gRPC make one."""
    from cli.handshake import Handshake, try_handshake
    from services.serving.settings import ClientSettings, read_settings

    own = read_settings(ClientSettings)
    address = _address(f"//{server.removeprefix('dns:///')}", None)
    if address is None:
        return Handshake()
    context = None if own.tls_ca_file is None else _trust()
    name = own.tls_server_name or address[0]
    proves = own.tls_certificate_file is not None
    return try_handshake(address, context, name=name, protocol="h2", proves=proves)


def _with_gateway(url: str) -> "Handshake":
    """Tries a handshake as requests make one."""
    from cli.handshake import Handshake, try_handshake
    from services.serving.settings import ClientSettings, read_settings

    encrypted = url.startswith("https://")
    address = _address(url, 443 if encrypted else 80)
    if address is None:
        return Handshake()
    context = _trust() if encrypted else None
    proves = read_settings(ClientSettings).tls_certificate_file is not None
    return try_handshake(address, context, name=address[0], protocol="http/1.1", proves=proves)


def _address(url: str, default_port: int | None) -> tuple[str, int] | None:
    """Returns host and port; None where there are none, of which gRPC or httpx then says more."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        return None
    return (host, port) if host and port else None


def _certificate(whose: str, handshake: "Handshake") -> list[Finding]:
    """Says when a certificate ends; nothing where there is none, or no connection, which other findings say."""
    from datetime import UTC, datetime

    if handshake.end is None:
        return []
    text = f"The certificate of {whose} ends on {handshake.end:%Y-%m-%d}."
    if (handshake.end - datetime.now(UTC)).days < _RENEWAL_DAYS:
        return [Finding("look", text, _RENEW)]
    return [Finding("well", text)]


def _trust() -> "ssl.SSLContext":
    """Returns whom a gateway with TLS is compared with, and what proves this caller, as for calls over gRPC."""
    import ssl

    from services.serving.settings import ClientSettings, SettingsError, read_settings

    own = read_settings(ClientSettings)
    try:
        context = ssl.create_default_context(cafile=own.tls_ca_file)
        if own.tls_certificate_file is not None:
            # Without a password, one that is needed would be asked for at the terminal.
            context.load_cert_chain(own.tls_certificate_file, own.tls_key_file, password="")
    except OSError as error:
        raise SettingsError(f"CLIENT_TLS_CA_FILE, CLIENT_TLS_CERTIFICATE_FILE, CLIENT_TLS_KEY_FILE: {error}") from None
    return context


def _advice(error: FashionError) -> str:
    if error.reason in {"EMBEDDER_UNAVAILABLE", "MODEL_NOT_READY"}:
        return "Look whether the embedder runs, and into its log; a start takes some seconds."
    if error.reason == "INDEX_NOT_READY":
        return "It is starting: wait some seconds. If it stays so, its log says what it waits for."
    if error.reason == "SEARCH_UNAVAILABLE":
        return f"Its log says why. {_NAME_SEARCH}"
    return f"docs/errors.md explains {error.reason}." if error.reason else "The log of the service says more."
