"""Loads the encoder that the settings ask for; a runtime is imported only where it is the one."""

from pathlib import Path
from typing import Final

from services.embedder.encoder import Encoder
from services.embedder.settings import EmbedderSettings, available_processors

IMAGENET: Final = "imagenet"


def load_encoder(settings: EmbedderSettings) -> Encoder:
    """Loads the encoder: seconds of work, so in a thread.

    Raises:
        InvalidInput: the bundle is broken, or no bundle.
        NotReady: the weights of ImageNet cannot be had.
        OSError: the bundle cannot be read.
    """
    if settings.runtime == "fake":
        from services.embedder.runtimes.fake import FakeEncoder

        return FakeEncoder()
    from services.bundle import load_bundle
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    threads = settings.threads or available_processors()
    path = Path(settings.bundle)
    if settings.bundle == IMAGENET:
        return TensorflowEncoder.imagenet(threads=threads)
    if path.suffix == ".h5":
        return TensorflowEncoder.imagenet(path, threads=threads)
    return TensorflowEncoder.from_bundle(load_bundle(path), threads=threads)
