"""The settings of the stack, from those of its services."""

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
    """The settings of all that runs in the stack.

    Attributes:
        server: of the one port.
        embedder: its bundle is the classifier's too.
        classifier: only how much it does at a time; the rest is given by who is beside it.
        search: its data directory holds the embedded Redis too; the targets of others do not count.
        gateway: of HTTP, on a port of its own; None for no gateway.
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
        """Reads the settings from the environment; what is given comes before it.

        Args:
            data_dir: of the catalogue, the photographs and Redis.
            host: to listen on.
            port: to listen on; 0 for a free one.
            bundle: the model's folder, or "imagenet".
            runtime: what runs the model.
            http_port: of the gateway; 0 for a free one. None beside a `port` of 0: the same.

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
