"""Loads the encoder that is asked for; only its own runtime is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import NotReady
from services.embedder.encoder import AnyPrecision, Encoder

IMAGENET: Final = "imagenet"
FAKE_BUNDLE: Final = "fake-"

RuntimeName = Literal["openvino", "tensorflow", "fake"]


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Which encoder to load, and how it runs.

    Attributes:
        bundle: a bundle's folder, a file of Keras weights (.h5), or "imagenet"; "fake-7" is one of the fake models.
        runtime: what runs the network.
        precision: that OpenVINO computes in.
        threads: threads of the only inference under way.
        inferences: maximum inferences at once.
    """

    bundle: str
    runtime: RuntimeName
    precision: AnyPrecision
    threads: int
    inferences: int

    @property
    def source(self) -> str:
        """The bundle, so that a later start finds it wherever that runs: an absolute path, or the name as it is."""
        if self.runtime == "fake" or self.bundle == IMAGENET:
            return self.bundle
        return str(Path(self.bundle).absolute())

    def open_bundle(self, *, encoder: bool = True) -> Bundle | None:
        """Opens the bundle; returns None for the fake runtime and for weights without a bundle.

        Args:
            encoder: whether the network's weights are checked already, not only as they are loaded.

        Raises:
            NotFound: there is no bundle.
            InvalidInput: the bundle is broken.
            OSError: the bundle cannot be read.
        """
        path = Path(self.bundle)
        if self.runtime == "fake" or self.bundle == IMAGENET or path.suffix == ".h5":
            return None
        return load_bundle(path, encoder=encoder)


def load_encoder(options: EncoderOptions, bundle: Bundle | None = None) -> Encoder:
    """Loads the encoder, which takes seconds: call it in a thread.

    Args:
        options: which encoder, and how it runs.
        bundle: the bundle of `options`, where it is open already.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is broken.
        NotReady: the weights of ImageNet cannot be had, or TensorFlow is asked for and not installed.
        OSError: the bundle cannot be read.
    """
    if options.runtime == "fake":
        from services.embedder.runtimes.fake import FakeEncoder

        # Each seed is another model.
        seed = options.bundle.removeprefix(FAKE_BUNDLE)
        return FakeEncoder(seed=int(seed) if seed.isdecimal() else 0)
    # Importing a runtime takes seconds: report a wrong path first.
    bundle = bundle or options.open_bundle(encoder=False)
    if bundle is not None and options.runtime == "openvino":
        from services.embedder.runtimes.openvino import OpenvinoEncoder

        return OpenvinoEncoder.from_bundle(bundle, options.threads, options.precision, inferences=options.inferences)
    try:
        from services.embedder.runtimes.tensorflow import TensorflowEncoder
    except ImportError as error:
        user = "EMBEDDER_RUNTIME=tensorflow" if bundle is not None else f"The model {options.bundle!r}"
        raise NotReady(
            f"{user} needs TensorFlow, which is not installed: run pip install 'fashion-recommender[train]'.",
            reason="RUNTIME_UNAVAILABLE",
        ) from error
    if bundle is not None:
        return TensorflowEncoder.from_bundle(bundle, threads=options.threads)
    return TensorflowEncoder.imagenet(
        None if options.bundle == IMAGENET else Path(options.bundle), threads=options.threads
    )
