"""The settings of the stack, made of those of its services."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from services.classifier.settings import ClassifierSettings
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.search.settings import SearchSettings
from services.serving.settings import ServerSettings, read_settings

DEFAULT_PORT: Final = 50050


@dataclass(frozen=True, slots=True)
class StackSettings:
    """The settings of all parts of the stack.

    Attributes:
        server: settings of the one gRPC port.
        embedder: settings of the embedder; the classifier uses the same bundle.
        classifier: settings of the classifier; only its threads and its queue count.
        search: settings of search; its data directory also holds the embedded Redis, its targets do not count.
        gateway: settings of the gateway, on a port of its own; None for no gateway.
    """

    server: ServerSettings
    embedder: EmbedderSettings
    classifier: ClassifierSettings
    search: SearchSettings
    gateway: GatewaySettings | None = None

    @classmethod
    def load(
        cls,
        *,
        data_dir: Path | None = None,
        host: str | None = None,
        port: int | None = None,
        bundle: str | Path | None = None,
        runtime: str | None = None,
        http_port: int | None = None,
    ) -> Self:
        """Reads the settings from the environment; arguments replace its values.

        Args:
            data_dir: directory of the catalogue, the photographs and Redis.
            host: address to listen on.
            port: port to listen on; 0 for a free one.
            bundle: folder of the model, or "imagenet".
            runtime: runtime of the model.
            http_port: port of the gateway; 0 for a free one, which is also the default if `port` is 0.

        Raises:
            SettingsError: a variable is bad; the text names it.
        """
        embedder = read_settings(EmbedderSettings, **_given(bundle=bundle and str(bundle), runtime=runtime))
        gateway = read_settings(GatewaySettings, **_given(port=0 if http_port is None and port == 0 else http_port))
        return cls(
            gateway=gateway if gateway.enabled else None,
            server=read_settings(ServerSettings, **_given(host=host, port=port)),
            embedder=embedder,
            classifier=read_settings(ClassifierSettings, bundle=embedder.bundle),
            search=read_settings(SearchSettings, **_given(data_dir=data_dir)),
        )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
