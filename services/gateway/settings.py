"""The settings of the gateway, read from GATEWAY_… variables."""

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.serving.settings import Profile, Settings, TokenKeys, comma_separated, on_unless_in_production
from services.vision.decode import MAX_IMAGE_BYTES

DEFAULT_PORT: Final = 8080
ANY_ORIGIN: Final = "*"


def _check_origins(text: str) -> str:
    for origin in comma_separated(text):
        parts = urlsplit(origin)
        plain = parts.scheme in {"http", "https"} and parts.netloc and origin == f"{parts.scheme}://{parts.netloc}"
        if origin != ANY_ORIGIN and not plain:
            raise ValueError('should be origins such as "https://shop.example", separated by commas, or "*"')
    return text


class GatewaySettings(Settings):
    """Settings of the gateway.

    Attributes:
        enabled: whether the stack has a gateway; a gateway in a process of its own ignores this.
        host: address to listen on for HTTP. Absent: SERVER_HOST.
        port: port to listen on for HTTP; 0 for a free one.
        tls_client_ca_file: certificates of the authorities (PEM) that sign those of callers over HTTP, such as of the
            proxy before it. Absent: callers need no certificate. SERVER_TLS_CERTIFICATE_FILE is its own one.
        search_target: gRPC target of search, for a gateway in a process of its own.
        deadline_s: maximum time for an answer of search, in seconds; a slower request gets 504.
        upload_timeout_s: maximum time for a request's body to arrive, in seconds.
        header_timeout_s: maximum time for a request's headers to arrive, and for a TLS handshake before it, in seconds.
        progress_timeout_s: maximum time in which a caller sends nothing of a body, or reads nothing of an answer, in
            seconds.
        keep_alive_s: time for which a connection may be idle between two requests, in seconds. It should be longer than
            callers and proxies keep theirs, or they send requests on connections that are just being closed.
        max_image_bytes: maximum size of a photograph; a larger one gets 413 before it has arrived.
        max_concurrent_requests: maximum requests that are worked on; more get 503 with Retry-After. One whose body is
            still arriving does not count.
        max_uploads: maximum requests whose body is arriving; more get 503.
        max_uploads_per_address: the same for one address. Behind a proxy, all callers have the proxy's.
        max_connections: maximum open connections, from before their TLS handshake. The longest idle one is closed for
            one more; where none has been idle for a second, the new one is cut off. Each takes some 50 KiB with TLS.
        max_connections_per_address: the same for one address.
        max_bytes_under_way: maximum bytes of bodies and of answers that are held; more get 503. Answers of less than 64
            KiB do not count.
        max_bytes_under_way_per_address: the same for one address.
        allowed_origins: origins whose pages may call the API from a browser, separated by commas; "*" for all.
        token_key: key of at least 32 bytes with which the shop's backend signs its users' tokens (HS256). While keys
            change, several, separated by commas; the first signs. Absent: endpoints of users are off, except for the
            storefront's demo users.
        token_free: whether callers on this machine may act for every user without a token, if the gateway listens on
            loopback. Only for trying it out: behind a proxy on this machine, everybody is such a caller.
        token_max_lifetime_s: maximum lifetime of a token, in seconds; longer ones are refused.
        public_read: whether browsers may read without a key where SERVER_KEYS_FILE asks for one: products, their
            photographs, facets, the map and similar products, as checkout pages and the storefront need. Users' routes
            are never public.
        profile: see "Every server".
        storefront: whether the storefront's pages are served, the inspector among them.
        reference: whether the reference is served: /docs and /openapi.json.
        public_max_age_s: time for which browsers and proxies may cache answers that depend on no user, in seconds.
        image_max_age_s: time for which browsers and proxies may cache photographs, in seconds.
        thumbnail_cache_bytes: maximum size of the thumbnails in memory.
        thumbnail_timeout_s: maximum time for making a thumbnail, in seconds; a slower one gets 504.
        decode_bytes: maximum memory of the photographs that are decoded at once, in bytes; more wait, and one that
            needs more is decoded alone.
        map: file of the map of the catalogue. Absent: in the stack map/map.json in the data directory, else none.
    """

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    enabled: bool = True
    host: str | None = Field(default=None, min_length=1)
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    tls_client_ca_file: Path | None = None
    search_target: str = Field(default="localhost:50053", min_length=1)
    deadline_s: float = Field(default=2.0, gt=0, le=3600)
    upload_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    header_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    progress_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    keep_alive_s: int = Field(default=75, ge=1, le=3600)
    max_image_bytes: int = Field(default=MAX_IMAGE_BYTES, ge=1024, le=1024 * 1024 * 1024)
    max_concurrent_requests: int = Field(default=256, ge=1)
    max_uploads: int = Field(default=256, ge=1)
    max_uploads_per_address: int = Field(default=32, ge=1)
    max_connections: int = Field(default=1024, ge=1)
    max_connections_per_address: int = Field(default=512, ge=1)
    max_bytes_under_way: int = Field(default=128 * 1024 * 1024, ge=1024)
    max_bytes_under_way_per_address: int = Field(default=64 * 1024 * 1024, ge=1024)
    allowed_origins: Annotated[str, AfterValidator(_check_origins)] = ""
    token_key: TokenKeys = SecretStr("")
    token_free: bool = False
    token_max_lifetime_s: float = Field(default=3600.0, gt=0, le=86_400)
    public_read: bool = False
    profile: Profile = Field(default="development", validation_alias="SERVER_PROFILE")
    storefront: bool = Field(default_factory=on_unless_in_production)
    reference: bool = Field(default_factory=on_unless_in_production)
    public_max_age_s: int = Field(default=60, ge=0, le=31_536_000)
    image_max_age_s: int = Field(default=3600, ge=0, le=31_536_000)
    thumbnail_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    thumbnail_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    decode_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    map: Path | None = None

    @model_validator(mode="after")
    def _any_origin_stands_alone(self) -> Self:
        if ANY_ORIGIN in self.origins() and len(self.origins()) > 1:
            raise ValueError('GATEWAY_ALLOWED_ORIGINS: "*" should stand alone')
        return self

    def origins(self) -> frozenset[str]:
        """Returns the allowed origins."""
        return frozenset(comma_separated(self.allowed_origins))

    def keys(self) -> tuple[str, ...]:
        """Returns the keys of tokens; the first one signs."""
        return tuple(comma_separated(self.token_key.get_secret_value()))
