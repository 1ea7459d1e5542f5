"""The classifier's settings, read from CLASSIFIER_… and REDIS_… variables."""

from typing import Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.serving.settings import RedisSettings

DEFAULT_PORT: Final = 50052

# Names the plain weights of ImageNet, as in EMBEDDER_BUNDLE; they have no heads.
IMAGENET: Final = "imagenet"


class ClassifierSettings(RedisSettings):
    """Settings of the classifier.

    Attributes:
        bundle: folder of the bundle, the same as the embedder's; or "imagenet", which has no heads, so that only
            candidates recognise anything.
        embedder_target: gRPC target of the embedder, called for requests with a photograph.
        embedder_timeout_s: maximum time for an answer of the embedder, in seconds, unless the caller's deadline is
            nearer.
        start_timeout_s: maximum wait at the start until the embedder describes its model, in seconds; only for
            "imagenet".
        threads: maximum embeddings classified at once.
        max_pending: maximum embeddings waiting or under way; more are refused with RESOURCE_EXHAUSTED.
        redis_timeout_s: maximum time for an answer of Redis, in seconds.
        follow_period_s: time between two polls for new candidates, in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="CLASSIFIER_", frozen=True, extra="ignore", populate_by_name=True)

    bundle: str = Field(default="models/fashion-resnet50", min_length=1)
    embedder_target: str = Field(default="localhost:50051", min_length=1)
    embedder_timeout_s: float = Field(default=2.0, gt=0, le=3600)
    start_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    threads: int = Field(default=1, ge=1, le=64)
    max_pending: int = Field(default=256, ge=1)
    redis_timeout_s: float = Field(default=2.0, gt=0, le=60)
    follow_period_s: float = Field(default=2.0, gt=0, le=3600)
