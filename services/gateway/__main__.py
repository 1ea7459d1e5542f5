"""Runs the gateway as a process of its own: `python -m services.gateway`."""

from services.serving import quick_start  # Before all else.

# isort: split
import asyncio
import signal

import structlog

from services.clients.channel import open_channel
from services.clients.search import SERVICE_NAME, SearchClient
from services.clients.watch import CallWatch
from services.gateway.server import running_gateway
from services.gateway.settings import GatewaySettings
from services.serving.admin import running_admin
from services.serving.run import run_process
from services.serving.settings import ServerSettings, read_settings
from services.serving.telemetry import configure_logging
from services.serving.tracing import configure_tracing

_log = structlog.stdlib.get_logger(__name__)


async def main() -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Raises:
        SettingsError: a variable is bad.
        ServeError: it cannot start.
    """
    settings, server_settings = read_settings(GatewaySettings), read_settings(ServerSettings)
    configure_logging(server_settings.log_level, server_settings.log_format)
    configure_tracing("fashion-gateway")
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    target, size = settings.search_target, server_settings.max_message_bytes
    channel = open_channel(target, health_service=SERVICE_NAME, max_message_bytes=size)
    async with (
        SearchClient(channel, target, watch=CallWatch("search")) as search,
        running_gateway(settings, server_settings) as gateway,
        running_admin(server_settings, gateway.is_ready),
    ):
        gateway.ready(search)
        quick_start.serving()
        await signalled.wait()
        # A second signal ends the process at once.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        gateway.drain()
        _log.info("draining", grace_s=server_settings.grace_s)
        await asyncio.sleep(server_settings.drain_delay_s)


if __name__ == "__main__":
    run_process("gateway", main)
