"""What the files for deployment say, for tests that run it here."""

import json
from pathlib import Path

_DOCKERFILE = Path(__file__).parents[2] / "deploy" / "Dockerfile"
_PORT = "9090"


def container_probe(port: int) -> list[str]:
    """Returns the command with which a container probes itself, for another port for operators."""
    (line,) = [line for line in _DOCKERFILE.read_text().splitlines() if line.startswith("HEALTHCHECK")]
    command = json.loads(line.partition(" CMD ")[2])
    return [part.replace(f"/{_PORT} ", f"/{port} ") for part in command]
