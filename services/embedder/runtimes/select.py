"""Loads the encoder that the settings ask for; a runtime is imported only where it is the one."""

from pathlib import Path
from typing import Final

from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import NotReady
from services.embedder.encoder import Encoder
from services.embedder.processor import available_processors
from services.embedder.settings import EmbedderSettings

IMAGENET: Final = "imagenet"


def named_bundle(settings: EmbedderSettings) -> Bundle | None:
    """Opens the bundle that the settings name; None for the fake runtime and the plain weights of ImageNet.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: it is broken.
        OSError: it cannot be read.
    """
    path = Path(settings.bundle)
    if settings.runtime == "fake" or settings.bundle == IMAGENET or path.suffix == ".h5":
        return None
    return load_bundle(path)


def load_encoder(settings: EmbedderSettings, bundle: Bundle | None = None) -> Encoder:
    """Loads the encoder: seconds of work, so in a thread.

    Args:
        settings: which, and how it runs.
        bundle: the one that the settings name, where it was opened already.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is broken.
        NotReady: the weights of ImageNet cannot be had, or TensorFlow is asked for and not installed.
        OSError: the bundle cannot be read.
    """
    if settings.runtime == "fake":
        from services.embedder.runtimes.fake import FakeEncoder

        return FakeEncoder()
    threads = settings.threads or available_processors()
    # Before a runtime is imported, which takes seconds: a wrong path is told at once.
    bundle = bundle or named_bundle(settings)
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
    path = None if settings.bundle == IMAGENET else Path(settings.bundle)
    return TensorflowEncoder.imagenet(path, threads=threads)
