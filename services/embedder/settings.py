"""The settings of the embedder, read from EMBEDDER_… variables."""

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.concurrency.processor import available_processors
from services.embedder.batching import BatchingLimits
from services.embedder.encoder import AnyPrecision
from services.embedder.runtimes.select import EncoderOptions, RuntimeName
from services.embedder.service import EmbedderLimits
from services.vision.decode import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGE_WORK, MAX_SCALED_PIXELS, ImageLimits
from services.vision.memory import MemoryBudget

DEFAULT_PORT: Final = 50051

# Maximum by default, because each inference has working memory of its own.
_DEFAULT_MAX_INFERENCES: Final = 8


class EmbedderSettings(BaseSettings):
    """What the embedder loads and how much it accepts.

    Attributes:
        bundle: a bundle's folder, or "imagenet" for the weights of keras.applications (downloaded once).
        runtime: what runs the network; "tensorflow" is the reference, and needs the extra `train`; "fake" makes
            repeatable embeddings without meaning, for tests.
        precision: precision of OpenVINO's arithmetic. "auto" is int8 (for the layers with nine tenths of the weights)
            with avx512_vnni but no AMX, else bfloat16 if the processor has instructions for it, else float32.
        threads: threads of an inference while no calls meet. Absent: all processors of this process.
        inferences: maximum inferences at once; several use one thread each. Absent: with OpenVINO one per processor of
            this process, at most 8; with other runtimes 1.
        decode_threads: maximum photographs decoded at once.
        queue_size: maximum photographs of Embed under way; more are refused with QUEUE_FULL.
        batch_queue_size: maximum photographs of BatchEmbed under way; more are refused with QUEUE_FULL.
        micro_batch: maximum photographs per inference.
        max_batch: maximum photographs per BatchEmbed.
        max_image_bytes: maximum size of a photograph's file.
        max_image_pixels: maximum pixels of a photograph, width x height.
        max_scaled_pixels: maximum pixels of a JPEG photograph, which beyond `max_image_pixels` is decoded at half its
            size or less.
        max_image_work: maximum work of decoding a photograph, in visits of a block of 8 x 8 pixels (some 50 ns each);
            a JPEG in ten scans visits each block about five times.
        decode_bytes: maximum memory of the photographs that are decoded at once, in bytes; more wait, and one that
            needs more is decoded alone.
        inference_timeout_s: time after which an inference counts as hanging, in seconds.
        warm_up_timeout_s: maximum time of the first inferences, in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="EMBEDDER_", frozen=True, extra="ignore")

    bundle: str = Field(default="models/fashion-resnet50", min_length=1)
    runtime: RuntimeName = "openvino"
    precision: AnyPrecision = "auto"
    threads: int | None = Field(default=None, ge=1, le=1024)
    inferences: int | None = Field(default=None, ge=1, le=64)
    decode_threads: int = Field(default=2, ge=1, le=256)
    queue_size: int = Field(default=64, ge=1)
    batch_queue_size: int = Field(default=1024, ge=1)
    micro_batch: int = Field(default=16, ge=2, le=256)
    max_batch: int = Field(default=64, ge=1)
    max_image_bytes: int = Field(default=MAX_IMAGE_BYTES, ge=1)
    max_image_pixels: int = Field(default=MAX_IMAGE_PIXELS, ge=1)
    max_scaled_pixels: int = Field(default=MAX_SCALED_PIXELS, ge=1)
    max_image_work: int = Field(default=MAX_IMAGE_WORK, ge=1)
    decode_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    inference_timeout_s: float = Field(default=60.0, gt=0)
    warm_up_timeout_s: float = Field(default=300.0, gt=0)

    def _inferences_at_once(self) -> int:
        if self.inferences is not None:
            return self.inferences
        return min(_DEFAULT_MAX_INFERENCES, available_processors()) if self.runtime == "openvino" else 1

    def encoder(self) -> EncoderOptions:
        """Returns which encoder to load, and how it runs."""
        return EncoderOptions(
            bundle=self.bundle,
            runtime=self.runtime,
            precision=self.precision,
            threads=self.threads or available_processors(),
            inferences=self._inferences_at_once(),
        )

    def limits(self) -> EmbedderLimits:
        """Returns what the embedder accepts."""
        return EmbedderLimits(
            image=ImageLimits(
                max_bytes=self.max_image_bytes,
                max_pixels=self.max_image_pixels,
                max_scaled_pixels=self.max_scaled_pixels,
                max_work=self.max_image_work,
                memory=MemoryBudget(self.decode_bytes),
            ),
            batching=BatchingLimits(
                query_places=self.queue_size,
                batch_places=self.batch_queue_size,
                micro_batch=self.micro_batch,
                inference_timeout_s=self.inference_timeout_s,
                inferences=self._inferences_at_once(),
            ),
            decode_threads=self.decode_threads,
        )
