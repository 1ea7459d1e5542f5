"""How a server of mosec is laid out, for what starts it and what it is; neither needs the other's imports."""

from dataclasses import dataclass
from typing import Final

LAYOUT: Final = "MOSEC_LAYOUT"
EMBEDDINGS: Final = "MOSEC_EMBEDDINGS"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a server of mosec is laid out.

    Attributes:
        stages: 1, where one process decodes, infers and searches; 2, where another one decodes.
        processes: of inference.
        threads: of one inference.
        batch: maximum photographs per inference.
        wait_ms: how long a batch waits for further ones; mosec knows no less than 1.
    """

    stages: int
    processes: int
    threads: int
    batch: int
    wait_ms: int
