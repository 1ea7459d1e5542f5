"""Runs the embedder as a process of its own: `python -m services.embedder`."""

import services.serving.quick_start  # noqa: F401 - before all else

# isort: split
import asyncio
from contextlib import AsyncExitStack

from services.concurrency.background import in_background
from services.embedder.runtimes.select import load_encoder
from services.embedder.service import local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.embedder.settings import DEFAULT_PORT, EmbedderSettings
from services.serving.run import Server, run_process, serve
from services.serving.settings import ServerSettings, read_settings
from services.serving.telemetry import configure_logging
from services.serving.tracing import configure_tracing


async def main() -> None:
    """Serves until SIGTERM.

    Raises:
        SettingsError: a variable is bad.
        ServeError: it cannot start, or its encoder has stopped working.
    """
    settings, server_settings = read_settings(EmbedderSettings), read_settings(ServerSettings)
    configure_logging(server_settings.log_level, server_settings.log_format)
    configure_tracing("fashion-embedder")

    async def start(server: Server, resources: AsyncExitStack) -> None:
        encoder = await asyncio.to_thread(load_encoder, settings.encoder())
        embedder = await resources.enter_async_context(
            local_embedder(encoder, settings.limits(), warm_up_timeout_s=settings.warm_up_timeout_s)
        )
        await resources.enter_async_context(
            server.watched(EMBEDDER, embedder.died, why="the encoder has stopped working", stop=True)
        )
        await server.ready(EMBEDDER, EmbedderServicer(embedder, settings.max_batch))
        await resources.enter_async_context(in_background(embedder.warm_up_further()))

    await serve(server_settings, [EMBEDDER], start, default_port=DEFAULT_PORT)


if __name__ == "__main__":
    run_process("embedder", main)
