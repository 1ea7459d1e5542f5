"""Runs all services in one process on one port: `python -m services.stack`."""

import services.serving.quick_start  # noqa: F401 - before all else

# isort: split
from services.serving.run import run_process
from services.serving.telemetry import configure_logging
from services.serving.tracing import configure_tracing
from services.stack.settings import StackSettings
from services.stack.startup import serve_stack


async def main() -> None:
    """Serves until SIGTERM.

    Raises:
        SettingsError: a variable is bad.
        ServeError: it cannot start.
    """
    settings = StackSettings.load()
    configure_logging(settings.server.log_level, settings.server.log_format)
    configure_tracing("fashion-stack")
    await serve_stack(settings)


if __name__ == "__main__":
    run_process("stack", main)
