"""Where Milvus is."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MilvusSettings:
    """Where Milvus is.

    Attributes:
        uri: an address such as "http://milvus:19530", or the path of a file of Milvus Lite, which ends in ".db".
        token: "user:password", or a key; "" for none.
        collection: what the names of collections begin with; each model version has a collection.
        timeout_s: how long Milvus may take for a query, in seconds.
        write_timeout_s: how long it may take for a write, in seconds.
        ca_file: certificates of the authority that signed Milvus's own; None for those that the system trusts.
    """

    uri: str
    token: str = field(default="", repr=False)
    collection: str = "fashion"
    timeout_s: float = 2.0
    write_timeout_s: float = 30.0
    ca_file: Path | None = None
