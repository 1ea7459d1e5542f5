"""A bundle's network on OpenVINO, the runtime that serves, in the best precision for the processor."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self

import numpy as np
import openvino as ov
import structlog
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.concurrency import memory
from services.concurrency.processor import processor_flags
from services.contract.values import ModelInfo
from services.embedder.encoder import (
    AnyPrecision,
    Features,
    Precision,
    check_architecture,
    check_batch,
    check_dimension,
    normalise,
)
from services.embedder.garment_heads import GarmentHeads, HeadLogits
from services.embedder.runtimes.resnet50 import build_resnet50, last_places
from services.vision.preprocess import Frame, Preprocessing

_log = structlog.stdlib.get_logger(__name__)

# OpenVINO makes kernels once for each number of pictures, which is slow. So only these occur. More pictures at once are
# only 3 % faster.
_SIZES: Final = (*range(1, 9), 16)
# Those of a network that begins to warm up.
_FIRST_SIZES: Final = (1,)
_DEVICE: Final = "CPU"
_NATIVE_BFLOAT16: Final = "BF16"
_INT8_FLAG: Final = "avx512_vnni"
# With AMX tiles bfloat16 is 3.6 times as fast as float32. Nobody has measured int8 of the last stages there.
_TILES_FLAG: Final = "amx_bf16"
_WIDE_FLAG: Final = "avx512f"
# At no more places of a picture than this, matrix products measured faster than convolutions: in float32 on processors
# with AVX-512 (last stage only), and in int8.
_FEW_PLACES_WIDE: Final = 16
_FEW_PLACES_INT8: Final = 32
_TYPES: Final = {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16}
# Consecutive activations that share a scale in int8, determined at run time.
_INT8_GROUP: Final = 128


def fastest_precision(core: ov.Core, flags: Collection[str] | None = None) -> Precision:
    """Returns the fastest precision measured as close enough to float32 (docs/decisions/0007).

    Args:
        core: tells whether the processor has bfloat16.
        flags: flags of the processor; those of this system where not given. OpenVINO does not tell about int8, which
            takes twice as long as float32 without avx512_vnni.
    """
    flags = processor_flags() if flags is None else flags
    if _INT8_FLAG in flags and _TILES_FLAG not in flags:
        return "int8"
    return _without_int8(core)


def _without_int8(core: ov.Core) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if computes_bfloat16(core) else "float32"


def computes_bfloat16(core: ov.Core | None = None) -> bool:
    """Tells whether the processor has instructions for bfloat16; without them it is slower than float32."""
    return _NATIVE_BFLOAT16 in (core or ov.Core()).get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


class OpenvinoEncoder:
    """ResNet50 with global max pooling; thread-safe.

    The only inference under way uses all processors, for the soonest answer. Several at once, and those among other
    work, use one processor each: threads of one inference would wait for each other while others have their processors,
    and waiting takes as much of a processor as work.
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
        heads: GarmentHeads | None = None,
        maps: bool = False,
    ) -> None:
        """Builds and compiles the network.

        Args:
            weights: weights of ResNet50 without its top, by Keras's names.
            preprocessing: the input that the network expects.
            name: name of the model.
            model_version: version of the model.
            threads: threads of the only inference; 0 lets OpenVINO choose.
            precision: precision of the arithmetic; "auto" is that of `fastest_precision`. "int8" applies to the last
                stages, which hold nine tenths of the weights. The other stages, and all stages for pictures from about
                224 x 224 on, use bfloat16 if the processor has it, else float32.
            inferences: maximum inferences at once; if several, the first of them have a second network compiled.
            heads: the heads that read the maps of the last stages; they are computed as part of the network.
            maps: whether `features` returns the maps too.

        Raises:
            InvalidInput: the weights are not those of a ResNet50.
        """
        core = ov.Core()
        if precision == "auto":
            precision = fastest_precision(core)
        if precision == "int8" and last_places(preprocessing) > _FEW_PLACES_INT8:
            # For large pictures no stage is a matrix product, so nothing would be in int8.
            precision = _without_int8(core)
        self._frame = preprocessing.frame
        self._heads = heads
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Always set, because OpenVINO's default is bfloat16 if the processor has it.
            "INFERENCE_PRECISION_HINT": _TYPES[_without_int8(core) if precision == "int8" else precision],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(_INT8_GROUP),
            # A pinned thread waits for its processor while another one is idle.
            "ENABLE_CPU_PINNING": "NO",
        }
        few_places = 0
        if precision == "int8":
            few_places = _FEW_PLACES_INT8
        elif precision == "float32" and _WIDE_FLAG in processor_flags():
            few_places = _FEW_PLACES_WIDE
        network = build_resnet50(
            weights,
            preprocessing,
            few_places=few_places,
            in_int8=precision == "int8",
            heads=None if heads is None else heads.weights,
            maps=maps,
        )

        self._model = ModelInfo(
            name=name,
            model_version=model_version,
            dimension=network.output(0).get_partial_shape()[-1].get_length(),
            input_height=preprocessing.frame.height,
            input_width=preprocessing.frame.width,
            runtime="openvino",
            precision=precision,
            reference_precision="float32",
        )

        def compiled(streams: int, threads: int) -> _Network:
            sizes = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(threads)}
            return _Network(core.compile_model(network, _DEVICE, settings | sizes))

        # Another network for inferences at once is not made before there are any: it takes 100 MiB, and without
        # batches there are none.
        self._alone = self._together = compiled(1, threads)
        self._compile_together: Callable[[], _Network] | None = None
        if inferences > 1 and threads != 1:
            self._compile_together = lambda: compiled(inferences, inferences)
        self._running = 0
        self._counting = threading.Lock()
        _log.info("network compiled", runtime="openvino", precision=precision, threads=threads, inferences=inferences)

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        threads: int = 0,
        precision: AnyPrecision = "auto",
        inferences: int = 1,
        maps: bool = False,
    ) -> Self:
        """Loads a bundle; `maps` as in the constructor.

        Raises:
            InvalidInput: BUNDLE_INVALID; the bundle holds another network, or its file was changed.
        """
        check_architecture(bundle, "resnet50")
        encoder = cls(
            bundle.encoder_weights(),
            bundle.preprocessing,
            name=bundle.name,
            model_version=bundle.model_version,
            threads=threads,
            precision=precision,
            inferences=inferences,
            heads=GarmentHeads.of(bundle),
            maps=maps,
        )
        check_dimension(bundle, encoder.model.dimension)
        return encoder

    @property
    def frame(self) -> Frame:
        """The bundle's input."""
        return self._frame

    @property
    def model(self) -> ModelInfo:
        """The model."""
        return self._model

    @property
    def garment_heads(self) -> GarmentHeads | None:
        """The bundle's."""
        return self._heads

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds pictures; see `Encoder.encode`."""
        return self.features(batch).embeddings

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        """Embeds pictures; see `Encoder.features`."""
        check_batch(batch, self.frame)
        with self._counting:
            self._running += 1
            network, compiled = self._alone, None
            if self._running > 1 or crowded:
                network, compiled, self._compile_together = self._together, self._compile_together, None
        if compiled is not None:
            # Nobody waits for it: until it is there, inferences at once take turns.
            threading.Thread(target=self._make_together, args=(compiled,), name="compiling").start()
        try:
            return self._told_apart(network.outputs(batch))
        finally:
            with self._counting:
                self._running -= 1

    def warm_up(self) -> Iterator[None]:
        """Makes OpenVINO's kernels for every number of pictures that `encode` uses; see `Encoder.warm_up`.

        Until a step has made those of a number, pictures are encoded in smaller ones. The kernels serve all threads.
        """
        self._alone.sizes = _FIRST_SIZES
        for count in _SIZES:
            # So that weights too large to compute with are refused before the first photograph.
            self._told_apart(self._alone.warm_up(self._frame, count))
            yield

    def _told_apart(self, outputs: Sequence[NDArray[np.float32]]) -> Features:
        """Tells a network's outputs apart.

        Raises:
            DataLoss: WEIGHTS_INVALID; what they lead to is not finite.
        """
        activations, *others = outputs
        logits = None
        if self._heads is not None:
            count = 2 if self._heads.finds_garments else 1
            logits, others = HeadLogits(*others[:count]), others[count:]
        return Features(normalise(activations), tuple(others), logits)

    def _make_together(self, compiled: "Callable[[], _Network]") -> None:
        try:
            network = compiled()
            for count in _SIZES:
                network.warm_up(self._frame, count)
        except Exception:
            _log.exception("the network for several inferences cannot be compiled; they share the other one")
            return
        self._together = network
        memory.give_back()


class _Network:
    """A compiled network; thread-safe.

    Attributes:
        sizes: the numbers of pictures that it infers at once, ascending from 1.
    """

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        # Of each output for one picture.
        self._shapes = [
            tuple(size.get_length() for size in list(output.partial_shape)[1:]) for output in compiled.outputs
        ]
        self._requests = threading.local()
        self.sizes: tuple[int, ...] = _SIZES

    def outputs(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Returns the network's outputs, n rows each, for pictures (n, height, width, 3)."""
        return self._outputs(batch, self.sizes)

    def _outputs(self, batch: NDArray[np.uint8], sizes: Sequence[int]) -> list[NDArray[np.float32]]:
        request = self._request()
        outputs = [np.empty((len(batch), *shape), dtype=np.float32) for shape in self._shapes]
        at = 0
        for size in _parts(len(batch), sizes):
            part = np.ascontiguousarray(batch[at : at + size])
            # Always shared: one that copies its input would write into the array that was shared before.
            results = request.infer([part], share_inputs=True, share_outputs=True)
            for index, output in enumerate(outputs):
                output[at : at + size] = results[index]
            at += size
        return outputs

    def warm_up(self, frame: Frame, count: int) -> list[NDArray[np.float32]]:
        """Makes the kernels of a number of pictures, which may be inferred at once from then on.

        Returns:
            The network's outputs for that many white pictures.
        """
        pixels = np.full((count, frame.height, frame.width, 3), 255, dtype=np.uint8)
        outputs = self._outputs(pixels, (count,))
        self.sizes = tuple(sorted({*self.sizes, count}))
        return outputs

    def _request(self) -> Any:
        """Returns the request of the calling thread."""
        request = getattr(self._requests, "one", None)
        if request is None:
            # A request is not thread-safe, and keeps the memory of its last shape.
            request = self._requests.one = self._compiled.create_infer_request()
        return request


def _parts(count: int, sizes: Sequence[int] = _SIZES) -> list[int]:
    """Splits a number of pictures into as few as some sizes, ascending from 1, allow."""
    parts = []
    for size in reversed(sizes):
        parts += [size] * (count // size)
        count %= size
    return parts
