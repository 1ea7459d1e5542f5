"""The settings of search, read from SEARCH_… variables and REDIS_URL."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.search.candidates.publisher import PublisherSettings
from services.search.catalogue.store import REMOVED_PHOTOGRAPH_DAYS, Catalogue
from services.search.indexes.faiss_settings import APPROXIMATE_FROM, FaissSettings
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.preferences import MAX_REMEMBERED_USERS, RedisPreferences
from services.search.query.find_similar import ClassifierUse
from services.search.reindex.builder import ReindexSettings
from services.search.writes.snapshots import SnapshotKeeper, SnapshotSettings
from services.search.writes.writer import WriteLimits
from services.serving.settings import RedisSettings

DEFAULT_PORT: Final = 50053
DEFAULT_REDIS_URL: Final = "redis://localhost:6379/0"


class SearchSettings(RedisSettings):
    """The settings of search.

    Attributes:
        data_dir: folder of the catalogue and its photographs; created if it is missing, used by one process at a time.
        adopt: begin an empty catalogue in a data directory that has photographs but no database; the photographs move
            into a quarantine.
        removed_photograph_days: how long the file of a photograph stays that no product shows any more, in days; a
            backup that has begun before needs it. It goes with the first write of a later day.
        embedder_target: gRPC target of the embedder.
        classifier_target: gRPC target of the classifier.
        next_embedder_target: gRPC target of a second embedder, which serves the next or the former model during a
            change; nothing need be there otherwise. Absent: the model cannot be changed without a pause.
        next_classifier_target: gRPC target of the classifier of that model.
        start_timeout_s: how long the embedder may take at the start to describe its model, and Milvus to answer, in
            seconds.
        embedder_timeout_s: how long the embedder may take for the photograph of a query, in seconds. Here and below, an
            earlier deadline of the caller applies.
        try_s: how long one replica of embedder or classifier may take before another is asked too, in seconds.
        write_timeout_s: how long the embedder may take for a group of photographs of a write, in seconds.
        classifier_timeout_s: how long a classifier in another process may take, in seconds. The answer then does
            without it.
        classifier_top_k: maximum number of subCategories and derived types that the classifier returns.
        preferences_timeout_s: how long Redis may take to read or write dislikes, in seconds.
        preferences_check_s: time between two checks whether Redis answers, for health and readiness, in seconds.
        remembered_users: maximum users whose last known dislikes are applied while Redis is silent, for an hour.
        candidates_timeout_s: how long Redis may take to store candidates, in seconds.
        candidates_changed_share: the candidates of a derived type are computed again once this share of its products
            has changed.
        candidates_pause_s: minimum time between two publications of candidates, in seconds. It is longer if computing
            them would take more than 5 % of the time.
        candidates_period_s: how often to check that Redis still has the candidates, in seconds. A replica asks the
            writer as often for its model.
        threads: searches and reads at the same time.
        max_pending: searches and reads that may wait or be under way; more are refused with QUEUE_FULL.
        index: "faiss" for an index in this process, or "milvus" for one in Milvus, which several processes read
            (docs/operating.md, "Several processes").
        faiss_threads: threads of FAISS per search.
        approximate_from: from so many products on, a large search of the whole inventory looks only at those most like
            its query, and may miss one; derived types are searched exactly at any size. Embeddings are then in a file
            of the data directory instead of in memory (docs/decisions/0028-cells.md).
        milvus_uri: address of Milvus, or the path of a file of Milvus Lite, which ends in ".db" and is for one process.
        milvus_token: "user:password", or a key of Milvus. Absent: Milvus asks for none.
        milvus_ca_file: the certificates of the authority that signed Milvus's own, as PEM. Absent: one that the system
            trusts.
        milvus_collection: what the names of collections begin with; each model version has a collection. It belongs to
            the catalogue that used it first; another one is refused.
        milvus_timeout_s: how long Milvus may take for a query, in seconds.
        milvus_write_timeout_s: how long Milvus may take for a part of a write, in seconds.
        writer_target: gRPC target of the search that has the catalogue. With it, this process has no data directory: it
            answers from Milvus, and passes writes, photographs and facts on.
        max_batch_rows: maximum number of products in one upsert or delete.
        max_pending_writes: writes that may wait or be under way; more are refused with QUEUE_FULL.
        snapshot: keep a snapshot of the index in the data directory, of about the size of the database. A start then
            reads only the products that have changed since.
        snapshot_min_changes: a snapshot is written for no fewer changed products.
        snapshot_changed_share: a snapshot is written once this share of the products has changed; at an orderly stop,
            for a fifth of it.
        snapshot_pause_s: minimum time between two snapshots, in seconds. It is longer if writing them would take more
            than 5 % of the time.
        embed_group: photographs of a write per call of the embedder.
        embed_groups_in_flight: such calls at the same time.
        renew_group: products of another model version per call of the embedder, in the background.
        reindex_group: products per call of the next model's embedder, in the background. Queries wait for a call, so
            that one is best where both have the same processors.
        reindex_max_slowdown: by what factor the 99th percentile of queries may grow while the next generation is built.
    """

    model_config = SettingsConfigDict(env_prefix="SEARCH_", frozen=True, extra="ignore", populate_by_name=True)

    data_dir: Path = Path("var/data")
    adopt: bool = False
    removed_photograph_days: int = Field(default=REMOVED_PHOTOGRAPH_DAYS, ge=0, le=3650)
    embedder_target: str = Field(default="localhost:50051", min_length=1)
    classifier_target: str = Field(default="localhost:50052", min_length=1)
    next_embedder_target: str = ""
    next_classifier_target: str = ""
    start_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    embedder_timeout_s: float = Field(default=2.0, gt=0, le=3600)
    try_s: float = Field(default=0.5, gt=0, le=3600)
    write_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    classifier_timeout_s: float = Field(default=1.0, gt=0, le=3600)
    classifier_top_k: int = Field(default=5, ge=1, le=100)
    preferences_timeout_s: float = Field(default=0.5, gt=0, le=60)
    preferences_check_s: float = Field(default=1.0, gt=0, le=3600)
    remembered_users: int = Field(default=MAX_REMEMBERED_USERS, ge=0)
    candidates_timeout_s: float = Field(default=5.0, gt=0, le=60)
    candidates_changed_share: float = Field(default=0.1, gt=0, le=1)
    candidates_pause_s: float = Field(default=2.0, ge=0, le=3600)
    candidates_period_s: float = Field(default=5.0, gt=0, le=3600)
    threads: int = Field(default=2, ge=1, le=256)
    max_pending: int = Field(default=64, ge=1)
    index: Literal["faiss", "milvus"] = "faiss"
    faiss_threads: int = Field(default=1, ge=1, le=256)
    approximate_from: int = Field(default=APPROXIMATE_FROM, ge=1)
    milvus_uri: str = Field(default="http://localhost:19530", min_length=1)
    milvus_token: SecretStr = SecretStr("")
    milvus_ca_file: FilePath | None = None
    milvus_collection: str = Field(default="fashion", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    milvus_timeout_s: float = Field(default=1.5, gt=0, le=3600)
    milvus_write_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    writer_target: str = ""
    max_batch_rows: int = Field(default=500, ge=1, le=10_000)
    max_pending_writes: int = Field(default=32, ge=1)
    snapshot: bool = True
    snapshot_min_changes: int = Field(default=500, ge=1)
    snapshot_changed_share: float = Field(default=0.05, gt=0, le=1)
    snapshot_pause_s: float = Field(default=60.0, gt=0, le=86_400)
    embed_group: int = Field(default=64, ge=1)
    embed_groups_in_flight: int = Field(default=4, ge=1)
    renew_group: int = Field(default=16, ge=1)
    reindex_group: int = Field(default=1, ge=1, le=64)
    reindex_max_slowdown: float = Field(default=1.5, gt=1, le=100)

    @model_validator(mode="after")
    def _goes_together_with_milvus(self) -> Self:
        if self.index == "milvus" and find_spec("pymilvus") is None:
            raise ValueError("SEARCH_INDEX=milvus needs pymilvus: install the extra `milvus`")
        if self.milvus_ca_file is not None and not self.milvus_uri.startswith("https://"):
            raise ValueError("SEARCH_MILVUS_URI should begin with https:// where SEARCH_MILVUS_CA_FILE is set")
        if self.writer_target and self.index != "milvus":
            raise ValueError("SEARCH_WRITER_TARGET needs SEARCH_INDEX=milvus, which several processes can read")
        return self

    def open_catalogue(self) -> Catalogue:
        """Opens the catalogue of the data directory; see `Catalogue`."""
        return Catalogue(self.data_dir, adopt=self.adopt, removed_photograph_days=self.removed_photograph_days)

    def preferences(self, redis_url: str) -> RedisPreferences:
        """Returns a store of dislikes in a Redis."""
        return RedisPreferences(redis_url, timeout_s=self.preferences_timeout_s, max_remembered=self.remembered_users)

    def classifier_use(self) -> ClassifierUse:
        """Returns how the classifier is asked."""
        return ClassifierUse(timeout_s=self.classifier_timeout_s, top_k=self.classifier_top_k)

    def publisher(self) -> PublisherSettings:
        """Returns when candidates are published."""
        return PublisherSettings(period_s=self.candidates_period_s, pause_s=self.candidates_pause_s)

    def faiss(self) -> FaissSettings:
        """Returns how the index in this process searches."""
        begins = self.approximate_from
        return FaissSettings(threads=self.faiss_threads, approximate_from=begins, on_disk_from=begins)

    def milvus(self) -> MilvusSettings:
        """Returns where the index in Milvus is."""
        return MilvusSettings(
            self.milvus_uri,
            self.milvus_token.get_secret_value(),
            self.milvus_collection,
            self.milvus_timeout_s,
            self.milvus_write_timeout_s,
            self.milvus_ca_file,
        )

    def snapshots(self, catalogue: Catalogue, on_written: Callable[[int], object]) -> SnapshotKeeper | None:
        """Returns what keeps a snapshot of the index; None where none is kept."""
        if not self.snapshot or self.index != "faiss":
            return None
        settings = SnapshotSettings(self.snapshot_min_changes, self.snapshot_changed_share, self.snapshot_pause_s)
        return SnapshotKeeper(catalogue, self.data_dir, settings, on_written)

    def reindex(self) -> ReindexSettings:
        """Returns how a reindex works."""
        return ReindexSettings(self.reindex_group, self.reindex_max_slowdown, self.candidates_period_s)

    def write_limits(self) -> WriteLimits:
        """Returns the limits of writes."""
        return WriteLimits(batch_rows=self.max_batch_rows, max_pending=self.max_pending_writes)
