"""A bundle's network on OpenVINO: the runtime that serves, in whichever precision the processor is made for."""

import threading
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Self

import numpy as np
import openvino as ov
import structlog
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.contract.values import ModelInfo
from services.embedder.encoder import AnyPrecision, Precision, check_architecture, check_batch, normalise
from services.embedder.processor import processor_flags
from services.embedder.runtimes.resnet50 import build_resnet50, last_places
from services.vision.preprocess import Preprocessing

_log = structlog.stdlib.get_logger(__name__)

_DIMENSION: Final = 2048
# Kernels are made for each number of pictures once, which takes long; so only these numbers occur: 1 to 8, and 16. More
# at once would be faster by 3 %.
_SMALL: Final = 8
_LARGE: Final = 16
_DEVICE: Final = "CPU"
_NATIVE_BFLOAT16: Final = "BF16"
_INT8_FLAG: Final = "avx512_vnni"
# Its tiles make bfloat16 3.6 times as fast as float32; int8 of the last stages was never measured beside them.
_TILES_FLAG: Final = "amx_bf16"
_WIDE_FLAG: Final = "avx512f"
# At so few places of a picture products of matrices are faster than convolutions, as far as was measured: in float32
# where the processor is wide, of the last stage alone.
_FEW_PLACES_WIDE: Final = 16
_FEW_PLACES_INT8: Final = 32
_TYPES: Final = {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16}
# In int8 so many activations in a row share a scale, found as they come.
_INT8_GROUP: Final = 128


def fastest_precision(core: ov.Core, flags: Collection[str] | None = None) -> Precision:
    """The fastest of the precisions that are near enough to float32, as far as was measured (docs/decisions/0007).

    Args:
        core: knows whether the processor computes in bfloat16.
        flags: what it can do; asked of the system where not given. OpenVINO does not tell about int8, which without
            these very instructions takes twice as long as float32.
    """
    flags = processor_flags() if flags is None else flags
    if _INT8_FLAG in flags and _TILES_FLAG not in flags:
        return "int8"
    return _without_int8(core)


def _without_int8(core: ov.Core) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if computes_bfloat16(core) else "float32"


def computes_bfloat16(core: ov.Core | None = None) -> bool:
    """Whether the processor has instructions for bfloat16; where it has none, that is slower than float32."""
    return _NATIVE_BFLOAT16 in (core or ov.Core()).get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


class OpenvinoEncoder:
    """ResNet50 with global max pooling; thread-safe.

    An inference that is the only one takes all the processors that it may: the answer comes soonest. Where there are
    several at once, each takes one: threads of one inference that wait for each other, while others or the interpreter
    have their processor, are time lost.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float32]],
        preprocessing: Preprocessing,
        *,
        name: str,
        model_version: str,
        threads: int = 0,
        precision: AnyPrecision = "auto",
        inferences: int = 1,
    ) -> None:
        """Build and compile the network.

        Args:
            weights: by the names that Keras gives them; exactly those of ResNet50 without its top.
            preprocessing: what the network expects.
            name: of the model.
            model_version: of the model.
            threads: that one picture or batch is computed with; 0 lets OpenVINO choose.
            precision: of the arithmetic; "auto" is what `fastest_precision` tells. "int8" is that of the last stages,
                where nine tenths of the weights are; before them, and for pictures from about 224 x 224 on, it is
                bfloat16 where the processor computes in it, else float32.
            inferences: how many are expected at once; from two on a second network is kept for them.

        Raises:
            InvalidInput: the weights are not those of a ResNet50.
        """
        core = ov.Core()
        if precision == "auto":
            precision = fastest_precision(core)
        if precision == "int8" and last_places(preprocessing) > _FEW_PLACES_INT8:
            # Of pictures so large no stage is a product of matrices: nothing would be in int8.
            precision = _without_int8(core)
        self._model = ModelInfo(
            name=name,
            model_version=model_version,
            dimension=_DIMENSION,
            input_height=preprocessing.height,
            input_width=preprocessing.width,
            runtime="openvino",
            precision=precision,
            reference_precision="float32",
        )
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Always said: left alone, OpenVINO takes bfloat16 wherever it can.
            "INFERENCE_PRECISION_HINT": _TYPES[_without_int8(core) if precision == "int8" else precision],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(_INT8_GROUP),
        }
        few_places = 0
        if precision == "int8":
            few_places = _FEW_PLACES_INT8
        elif precision == "float32" and _WIDE_FLAG in processor_flags():
            few_places = _FEW_PLACES_WIDE
        network = build_resnet50(weights, preprocessing, few_places=few_places, in_int8=precision == "int8")

        def compiled(streams: int, threads: int) -> _Network:
            sizes = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(threads)}
            return _Network(core.compile_model(network, _DEVICE, settings | sizes))

        self._alone = compiled(1, threads)
        self._together = compiled(inferences, inferences) if inferences > 1 and threads != 1 else self._alone
        self._running = 0
        self._counting = threading.Lock()
        _log.info("network compiled", runtime="openvino", precision=precision, threads=threads, inferences=inferences)

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, threads: int = 0, precision: AnyPrecision = "auto", inferences: int = 1
    ) -> Self:
        """Run a bundle.

        Raises:
            InvalidInput: the bundle holds another network, or its file was changed.
        """
        check_architecture(bundle, "resnet50")
        return cls(
            bundle.encoder_weights(),
            bundle.preprocessing,
            name=bundle.name,
            model_version=bundle.model_version,
            threads=threads,
            precision=precision,
            inferences=inferences,
        )

    @property
    def model(self) -> ModelInfo:
        """Which model this is."""
        return self._model

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures; see `Encoder.encode`."""
        check_batch(batch, self._model)
        with self._counting:
            self._running += 1
            network = self._alone if self._running == 1 else self._together
        try:
            return normalise(network.activations(batch, self._model.dimension))
        finally:
            with self._counting:
                self._running -= 1

    def warm_up(self) -> None:
        """Have the kernels made for every part that a batch is encoded in."""
        height, width = self._model.input_height, self._model.input_width
        for network in {self._alone, self._together}:
            for count in (*range(1, _SMALL + 1), _LARGE):
                network.activations(np.full((count, height, width, 3), 255, dtype=np.uint8), self._model.dimension)


class _Network:
    """A compiled network; thread-safe."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._requests = threading.local()

    def activations(self, batch: NDArray[np.uint8], dimension: int) -> NDArray[np.float32]:
        """What comes out for (n, height, width, 3): (n, dimension)."""
        request = getattr(self._requests, "one", None)
        if request is None:
            # A request keeps the memory of its last shape, and may serve one caller at a time.
            request = self._requests.one = self._compiled.create_infer_request()
        found = np.empty((len(batch), dimension), dtype=np.float32)
        at = 0
        for size in _parts(len(batch)):
            part = np.ascontiguousarray(batch[at : at + size])
            found[at : at + size] = request.infer([part], share_inputs=True, share_outputs=True)[0]
            at += size
        return found


def _parts(count: int) -> list[int]:
    """In which numbers of pictures a batch is encoded."""
    large, rest = divmod(count, _LARGE)
    small, last = divmod(rest, _SMALL)
    return [_LARGE] * large + [_SMALL] * small + ([last] if last else [])
