"""Loads the encoder that the settings ask for; a runtime is imported only where it is the one."""

from pathlib import Path
from typing import Final

from services.bundle import load_bundle
from services.embedder.encoder import Encoder
from services.embedder.processor import available_processors
from services.embedder.settings import EmbedderSettings
from services.serving.errors import NotReady

IMAGENET: Final = "imagenet"


def load_encoder(settings: EmbedderSettings) -> Encoder:
    """Loads the encoder: seconds of work, so in a thread.

    Raises:
        InvalidInput: the bundle is broken, or no bundle.
        NotReady: the weights of ImageNet cannot be had, or TensorFlow is asked for and not installed.
        OSError: the bundle cannot be read.
    """
    if settings.runtime == "fake":
        from services.embedder.runtimes.fake import FakeEncoder

        return FakeEncoder()
    threads = settings.threads or available_processors()
    path = Path(settings.bundle)
    is_bundle = settings.bundle != IMAGENET and path.suffix != ".h5"
    # Before a runtime is imported, which takes seconds: a wrong path is told at once.
    bundle = load_bundle(path) if is_bundle else None
    if bundle is not None and settings.runtime == "openvino":
        from services.embedder.runtimes.openvino import OpenvinoEncoder

        return OpenvinoEncoder.from_bundle(
            bundle, threads, settings.precision, inferences=settings.inferences_at_once()
        )
    try:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder
    except ImportError as error:
        wanted = "the weights of keras.applications" if bundle is None else "EMBEDDER_RUNTIME=tensorflow"
        raise NotReady(
            f"{wanted} needs TensorFlow, which is not installed: pip install 'fashion-recommender[train]'",
            reason="RUNTIME_UNAVAILABLE",
        ) from error
    if bundle is not None:
        return TensorflowEncoder.from_bundle(bundle, threads=threads)
    return TensorflowEncoder.imagenet(None if settings.bundle == IMAGENET else path, threads=threads)
