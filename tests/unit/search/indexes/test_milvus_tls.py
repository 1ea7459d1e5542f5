"""A Milvus whose certificate an authority of one's own has signed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from services.contract.errors import Upstream
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MilvusStore
from tests.support.certificates import Certificates

pytest.importorskip("pymilvus", reason="pymilvus is not installed (the extra bench has it).")


class _Recording(grpc.GenericRpcHandler):
    """Knows no method, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        self.asked.append(handler_call_details.method)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def milvus(certificates: Certificates) -> Iterator[tuple[str, _Recording]]:
    """A server at which TLS ends as at a Milvus; what follows is not asked of it."""
    files = certificates.issue("localhost")
    handler = _Recording()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    pair = [(files.key.read_bytes(), files.certificate.read_bytes())]
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pair))
    server.start()
    yield f"https://localhost:{port}", handler
    server.stop(None).wait()


def test_it_is_reached_with_the_authority_and_not_without(
    milvus: tuple[str, _Recording], certificates: Certificates
) -> None:
    uri, handler = milvus
    settings = MilvusSettings(uri, timeout_s=3.0, write_timeout_s=3.0)
    with pytest.raises(Upstream):
        MilvusStore(settings, 8, "a").open()
    assert not handler.asked
    with pytest.raises(Upstream):
        MilvusStore(replace(settings, ca_file=certificates.folder / "ca.crt"), 8, "a").open()
    assert any(each.startswith("/milvus.proto.milvus.") for each in handler.asked)
