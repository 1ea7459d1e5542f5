"""The runtimes of a bundle's network; each fulfils `services.embedder.encoder.Encoder`."""

import sys

# With this package, which openvino requires, `import openvino` reports itself to Google Analytics and stores an
# identifier in the home directory. Without it, openvino uses a stub of its own.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
