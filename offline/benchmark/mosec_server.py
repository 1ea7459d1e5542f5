"""What a team would build with mosec: the same decoding, network and FAISS behind its HTTP and its dynamic batches.

`python -m offline.benchmark.mosec_server --address HOST --port PORT --path FOLDER`, with a `Layout` as JSON in
`MOSEC_LAYOUT` and embeddings in `MOSEC_EMBEDDINGS`, a file of numpy: float32, shape (n, dimension).
"""

import json
import os
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from mosec import Server, Worker

from offline.benchmark.mosec_layout import EMBEDDINGS, LAYOUT, Layout
from services.bundle.reader import load_bundle
from services.embedder.runtimes.select import load_encoder
from services.embedder.settings import EmbedderSettings
from services.vision import prepare

_TOP_K: Final = 10


class _Photographs(Worker):  # type: ignore[misc]
    """Takes the bytes of a request as they are."""

    def deserialize(self, data: bytes) -> bytes:
        """Returns the body of a request."""
        return data


class Decode(_Photographs):
    """Decodes one photograph."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = load_bundle(Path(EmbedderSettings().bundle), encoder=False).frame

    def forward(self, data: bytes) -> Any:
        """Returns its pixels: uint8, shape (height, width, 3)."""
        return prepare(data, self._frame)


class Search(_Photographs):
    """Infers and searches a batch of photographs, and decodes those that are not."""

    def __init__(self) -> None:
        super().__init__()
        settings = EmbedderSettings().model_copy(update={"threads": _layout().threads, "inferences": 1})
        self._encoder = load_encoder(settings.encoder())
        faiss.omp_set_num_threads(1)
        embeddings = np.load(os.environ[EMBEDDINGS], allow_pickle=False)
        self._index = faiss.IndexFlatIP(embeddings.shape[1])
        self._index.add(embeddings)
        frame = self._encoder.frame
        for size in range(1, _layout().batch + 1):
            self._encoder.features(np.zeros((size, frame.height, frame.width, 3), np.uint8))

    def forward(self, data: Any) -> Any:
        """Returns the most similar rows of each photograph, with their similarities."""
        photographs = data if isinstance(data, list) else [data]
        pixels = [each if isinstance(each, np.ndarray) else prepare(each, self._encoder.frame) for each in photographs]
        similarities, places = self._index.search(self._encoder.features(np.stack(pixels)).embeddings, _TOP_K)
        answers = [
            {"places": own.tolist(), "similarities": its.tolist()}
            for own, its in zip(places, similarities, strict=True)
        ]
        return answers if isinstance(data, list) else answers[0]


def _layout() -> Layout:
    return Layout(**json.loads(os.environ[LAYOUT]))


def main() -> None:
    """Serves until it is ended."""
    layout, server = _layout(), Server()
    if layout.stages > 1:
        server.append_worker(Decode)
    server.append_worker(
        Search, num=layout.processes, max_batch_size=layout.batch, max_wait_time=layout.wait_ms, timeout=20
    )
    server.run()


if __name__ == "__main__":
    main()
