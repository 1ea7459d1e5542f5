"""`fashion serve` and `fashion stop`: the stack with all services on one port, or one service."""

import asyncio
import importlib
import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import connected
from cli.stack_process import CANNOT_SERVE, startup_errors
from services.contract.errors import FashionError, Forbidden, InvalidInput, Unauthenticated, Upstream

if TYPE_CHECKING:
    from cli.stack_process import BackgroundStack, StackHome
    from services.clients.search import SearchClient
    from services.stack.settings import StackSettings

serve_app = typer.Typer(rich_markup_mode="rich", add_completion=False)
stop_app = typer.Typer(rich_markup_mode="rich", add_completion=False)

DEFAULT_DATA_DIR = Path("var/data")
DEFAULT_PORT = 50050
# On a busy machine, a model can take minutes to load.
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0


class Service(Enum):
    """A service that can run alone."""

    EMBEDDER = "embedder"
    CLASSIFIER = "classifier"
    SEARCH = "search"
    GATEWAY = "gateway"


DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="SEARCH_DATA_DIR", metavar="DIR", file_okay=False, help="Data directory of the stack."
    ),
]


@serve_app.command(
    epilog=(
        "Examples:\n\nfashion serve\n\nfashion serve --demo-catalogue --detach\n\n"
        "fashion serve --service embedder --port 50051\n\n"
        "Environment variables set everything else, as in containers: EMBEDDER_BUNDLE, REDIS_URL (empty for a Redis of "
        "the stack's own), SERVER_LOG_FORMAT, SERVER_HOST and others (docs/settings.md). Ctrl-C or SIGTERM ends it "
        "after the calls in flight.\n\n"
        "Exit codes: 0 ended as asked · 1 cannot start · 2 bad settings"
    )
)
def serve(
    service: Annotated[
        Service | None,
        typer.Option(
            "--service",
            metavar="embedder|classifier|search|gateway",
            help="Start only this service. Default: all services, on one port.",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Address to listen on. Default: SERVER_HOST, else 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Port for gRPC; 0 for a free one. Default: SERVER_PORT, else 50050; for one service 50051, 50052, "
            "50053 or 8080.",
        ),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Port for HTTP and the storefront; 0 for a free one. Default: GATEWAY_PORT, else 8080, or a free one "
            "with --port 0.",
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    demo_catalogue: Annotated[
        bool, typer.Option("--demo-catalogue", help="Fill an empty catalogue with the drawn demo catalogue.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run it in the background, until `fashion stop`.")] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Begin an empty catalogue although photographs are there without their database. They move to "
            "photographs/quarantine.",
        ),
    ] = False,
    log_file: Annotated[Path | None, typer.Option("--log-file", hidden=True)] = None,
) -> None:
    """Start the stack: all services on one port, HTTP on another, and a Redis of its own. Or start one service."""
    # What it writes is for this user alone.
    os.umask(0o077)
    if adopt:
        os.environ["SEARCH_ADOPT"] = "true"
    if service is not None:
        if demo_catalogue or detach or http_port is not None:
            raise InvalidInput(
                "The options --demo-catalogue, --detach and --http-port are for the whole stack: leave out --service.",
                reason="OPTIONS_MIXED",
            )
        _serve_one(service, host, port, data_dir)
    elif detach:
        _serve_in_background(host, port, http_port, data_dir, demo_catalogue)
    else:
        _serve_here(host, port, http_port, data_dir, demo_catalogue, log_file)


@stop_app.command(epilog="Example: fashion stop\n\nExit codes: 0 no stack is running now · 4 the stack does not end")
def stop(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop the stack that `fashion serve --detach` started."""
    from cli import output
    from cli.stack_process import StackHome

    stopped = StackHome(data_dir).stop(STOP_TIMEOUT_S)
    if stopped is None:
        output.console().print(f"No stack is running on {data_dir}.", markup=False)
    else:
        output.console().print(f"Stopped the stack at {stopped.server}.", markup=False)


def _serve_one(service: Service, host: str | None, port: int | None, data_dir: Path) -> None:
    from services.serving.run import run_process

    # The service reads its settings from the environment, as in its container.
    if host is not None:
        os.environ["SERVER_HOST"] = host
    if port is not None:
        os.environ["GATEWAY_PORT" if service is Service.GATEWAY else "SERVER_PORT"] = str(port)
    os.environ["SEARCH_DATA_DIR"] = str(data_dir)
    run_process(service.value, importlib.import_module(f"services.{service.value}.__main__").main)


def _serve_here(
    host: str | None,
    port: int | None,
    http_port: int | None,
    data_dir: Path,
    demo_catalogue: bool,
    log_file: Path | None,
) -> None:
    import services.serving.quick_start
    from cli import output
    from cli.demo.material import DEMO_HOME, fill_if_empty
    from services.serving.run import run_loop
    from services.serving.telemetry import RotatingOutput, configure_logging
    from services.serving.tracing import configure_tracing
    from services.stack.settings import StackSettings
    from services.stack.startup import RunningStack, serve_stack

    services.serving.quick_start.imported()
    with startup_errors():
        settings = StackSettings.load(host=host, port=port, http_port=http_port, data_dir=data_dir)
        if demo_catalogue:
            _check_reach(settings)
        # A person at a terminal reads the log; a collector has no terminal, or has set the format.
        by_hand = sys.stderr.isatty() and "SERVER_LOG_FORMAT" not in os.environ
        server = settings.server
        handler = None if log_file is None else RotatingOutput(log_file, server.log_file_max_bytes, server.log_files)
        configure_logging(server.log_level, "console" if by_hand else server.log_format, handler=handler)
        configure_tracing("fashion-stack")

        async def on_ready(stack: RunningStack) -> None:
            async with connected(stack.target) as client:
                if demo_catalogue:
                    await fill_if_empty(client, DEMO_HOME, output.errors())
                example = await example_id(client)
            how_to_reach(stack.target, stack.storefront_url, data_dir, example, foreground=True)

        run_loop(serve_stack(settings, on_ready))


def _serve_in_background(
    host: str | None, port: int | None, http_port: int | None, data_dir: Path, demo_catalogue: bool
) -> None:
    from cli import output
    from cli.stack_process import StackHome

    home = StackHome(data_dir)
    to = output.errors()
    running = home.running()
    if running is not None:
        _require_same_ports(running, home, host, port, http_port)
        text = f"A stack runs on {data_dir} already, at {running.server}."
        output.console().print(text, markup=False, soft_wrap=True)
    stack = running or _start_in_background(home, host, port, http_port)

    async def wait_and_fill() -> str | None:
        async with connected(stack.server) as client:
            with output.status(to, "Starting the stack …" if running is None else "Waiting for the stack …"):
                waiting = asyncio.create_task(client.wait_until_serving(START_TIMEOUT_S))
                while not waiting.done():
                    await asyncio.wait({waiting}, timeout=0.5)
                    if not waiting.done() and home.running() is None:
                        waiting.cancel()
                        why = home.last_words().removeprefix("error: ").removesuffix(f" ({CANNOT_SERVE})")
                        raise FashionError(f"The stack has ended. Its log {home.log} says: {why}", reason=CANNOT_SERVE)
                await waiting
            if demo_catalogue:
                from cli.demo.material import DEMO_HOME, fill_if_empty

                await fill_if_empty(client, DEMO_HOME, to)
            return await example_id(client)

    example = asyncio.run(wait_and_fill())
    how_to_reach(stack.server, stack.url, data_dir, example, foreground=False)


def _start_in_background(
    home: "StackHome", host: str | None, port: int | None, http_port: int | None
) -> "BackgroundStack":
    """Starts a stack once both of its ports are known to be free, which takes it seconds to find out."""
    from services.serving.run import listening_socket
    from services.stack.settings import StackSettings

    with startup_errors():
        settings = StackSettings.load(host=host, port=port, http_port=http_port, data_dir=home.directory)
        _check_reach(settings)
        server, gateway = settings.server, settings.gateway
        grpc_port = DEFAULT_PORT if server.port is None else server.port
        if grpc_port == 0 or (gateway is not None and gateway.port == 0):
            raise InvalidInput(
                "With --detach, name the ports: 0 for --port, --http-port, SERVER_PORT or GATEWAY_PORT would hide "
                "where the stack listens.",
                reason="PORT_INVALID",
            )
        listening_socket(server.host, grpc_port, "SERVER").close()
        url = None
        if gateway is not None:
            listening_socket(gateway.host or server.host, gateway.port, "GATEWAY").close()
            if gateway.storefront:
                scheme = "http" if server.tls_certificate_file is None else "https"
                url = f"{scheme}://{_reachable(gateway.host or server.host)}:{gateway.port}/"
    command = ["serve", "--data-dir", str(home.directory), "--log-file", str(home.log)]
    for option, value in (("--host", host), ("--port", port), ("--http-port", http_port)):
        command += [option, str(value)] if value is not None else []
    return home.start(command, f"{_reachable(server.host)}:{grpc_port}", url)


def _require_same_ports(
    running: "BackgroundStack", home: "StackHome", host: str | None, port: int | None, http_port: int | None
) -> None:
    """Refuses ports that the running stack does not listen on; ports that nobody names are those of that stack.

    Raises:
        InvalidInput: STACK_RUNNING, SETTINGS_INVALID.
    """
    from urllib.parse import urlsplit

    from services.stack.settings import StackSettings

    with startup_errors():
        settings = StackSettings.load(host=host, port=port, http_port=http_port, data_dir=home.directory)
    gateway, storefront = settings.gateway, urlsplit(running.url or "").port
    differ = settings.server.port is not None and settings.server.port != urlsplit(f"//{running.server}").port
    if gateway is not None and storefront is not None and "port" in gateway.model_fields_set:
        differ = differ or gateway.port != storefront
    if differ:
        at = running.server if running.url is None else f"{running.server} and {running.url}"
        raise InvalidInput(
            f"A stack runs on {home.directory} already, at {at}. For other ports, run `fashion stop` first, or name "
            "another --data-dir.",
            reason="STACK_RUNNING",
        )


def _check_reach(settings: "StackSettings") -> None:
    """Checks that this command can call the stack, for which it would otherwise wait in vain.

    Raises:
        InvalidInput: SETTINGS_INVALID; the stack speaks TLS, and this command does not.
    """
    from services.serving.settings import ClientSettings, read_settings

    own, server = read_settings(ClientSettings), settings.server
    lacking = []
    if server.tls_certificate_file is not None and own.tls_ca_file is None:
        lacking.append("CLIENT_TLS_CA_FILE")
    if server.tls_client_ca_file is not None and own.tls_certificate_file is None:
        lacking += ["CLIENT_TLS_CERTIFICATE_FILE", "CLIENT_TLS_KEY_FILE"]
    if lacking:
        raise InvalidInput(
            f"The stack would speak TLS, and this command could not call it: set {', '.join(lacking)} too.",
            reason="SETTINGS_INVALID",
        )


def _grpcurl_options() -> str:
    """Returns the options with which grpcurl calls as this command does."""
    from services.serving.settings import ClientSettings, ServerSettings, read_settings

    own = read_settings(ClientSettings)
    if own.tls_ca_file is None:
        return "-plaintext" if read_settings(ServerSettings).tls_certificate_file is None else "-cacert CA_FILE"
    given = {"-cacert": own.tls_ca_file, "-cert": own.tls_certificate_file, "-key": own.tls_key_file}
    return " ".join(f"{option} {file}" for option, file in given.items() if file is not None)


def _reachable(host: str) -> str:
    """Returns the host at which callers on this machine reach what listens on `host`."""
    bare = host.strip("[]")
    if bare in ("127.0.0.1", "0.0.0.0", "::"):
        return "localhost"
    return f"[{bare}]" if ":" in bare else bare


async def example_id(client: "SearchClient") -> str | None:
    """Returns the id of a product for examples; None for an empty catalogue, or without a key."""
    from services.serving.settings import ClientSettings, ServerSettings, read_settings

    own = read_settings(ClientSettings)
    if read_settings(ServerSettings).keys_file and not (own.api_key_file or own.api_key.get_secret_value()):
        # Its refusal would stand in the audit log.
        return None
    try:
        return next((product.id for product in (await client.list_products(page_size=1)).products), None)
    except (Unauthenticated, Forbidden, Upstream):
        # This terminal has no key or no certificate (CLIENT_…); the stack runs all the same.
        return None


def how_to_reach(server: str, storefront: str | None, data_dir: Path, example: str | None, *, foreground: bool) -> None:
    """Prints how to use a running stack, and how to end it.

    Args:
        server: its address.
        storefront: the URL of its storefront; None where it has none.
        data_dir: its data directory.
        example: the id of a product in its catalogue; None for an empty one.
        foreground: whether it runs in this process.
    """
    from cli import output
    from cli.demo.material import EXAMPLE_PHOTOGRAPH
    from services.gateway.settings import GatewaySettings
    from services.serving.settings import ServerSettings, read_settings

    to = output.console()
    fashion = output.command_name()
    option = "" if server in ("localhost:50050", "127.0.0.1:50050") else f" --server {server}"
    at = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    if example is None:
        suggestions = [f"{fashion} ingest PATH{option}"]
    else:
        suggestions = [
            f"{fashion} catalogue stats{option}",
            f"{fashion} search --product-id {shlex.quote(example)} --contact-sheet out.png{option}",
        ]
        if EXAMPLE_PHOTOGRAPH.is_file():
            suggestions.append(f"{fashion} search {shlex.quote(str(EXAMPLE_PHOTOGRAPH))}{option}")
    reflection = read_settings(ServerSettings).reflection
    if reflection:
        suggestions.append(f"grpcurl {_grpcurl_options()} {server} list")
    to.print(f"\nThe stack answers at [bold]{server}[/bold] (gRPC, reflection {'on' if reflection else 'off'}). Try:")
    for line in suggestions:
        to.print(f"  {line}", markup=False, soft_wrap=True)
    if storefront is not None:
        reference = f" (HTTP API: {storefront}docs)" if read_settings(GatewaySettings).reference else ""
        to.print(f"The storefront is at [bold]{storefront}[/bold]{reference}.")
    to.print(f"End it with: {'Ctrl-C' if foreground else f'{fashion} stop{at}'}", markup=False, soft_wrap=True)
    if not foreground:
        to.print(f"Log: {data_dir / 'stack.log'}", markup=False, soft_wrap=True)
