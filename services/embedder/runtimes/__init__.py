"""What can run a bundle's network; each fulfils `services.embedder.encoder.Encoder`."""

import sys

# `import openvino` reports itself to Google Analytics, unasked, and keeps an identifier in the home directory, wherever
# it finds this package, which it requires. With the package out of reach it uses a stub of its own instead.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
