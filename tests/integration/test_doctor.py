"""`fashion doctor` tells a well deployment from one in which something fails, and says what to do."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.commands.doctor import app
from tests.support.certificates import Certificates
from tests.support.embedders import embedder_running
from tests.support.gateways import shop
from tests.support.processes import free_port
from tests.support.small_shop import rows


def asked(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    outcome = CliRunner().invoke(app, [*arguments, "--json"])
    assert outcome.stdout, outcome.exception
    return outcome.exit_code, json.loads(outcome.stdout)


def test_an_empty_shop_is_told_and_a_full_one_is_well(tmp_path: Path) -> None:
    with shop(tmp_path / "data") as running:
        address = running.url.rpartition("//")[2]
        at = ("--server", running.grpc.target, "--gateway", f"http://{address}")
        status, findings = asked(*at)
        assert status == 0 and "The catalogue is empty." in {each["what"] for each in findings}
        running.grpc.upsert(rows())
        status, findings = asked(*at)
        assert status == 0 and {each["state"] for each in findings} <= {"well", "look"}
        texts = " ".join(each["what"] for each in findings)
        assert f"{len(rows())} products" in texts and "with its photograph is answered in" in texts
        assert "The gateway" in texts and "is ready" in texts


async def test_another_service_is_not_taken_for_search() -> None:
    async with embedder_running() as embedder:
        server = f"127.0.0.1:{embedder.server.port}"
        status, findings = await asyncio.to_thread(asked, "--server", server, "--gateway", "")
    assert status == 1
    (ill,) = findings
    assert "Another service than search answers" in ill["what"] and "--server" in ill["advice"]


def test_what_is_there_and_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = Certificates(tmp_path / "own").issue("search").ca
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("cli.handshake._TIMEOUT_S", 0.2)
        monkeypatch.setattr("cli.commands.doctor._TIMEOUT_S", 0.2)
        status, findings = asked("--server", f"127.0.0.1:{free_port()}", "--gateway", f"http://{address}")
        assert status == 1 and "Nothing listens" in findings[0]["what"] and "says nothing" in findings[1]["what"]
    with shop(tmp_path / "data") as running:
        monkeypatch.setenv("CLIENT_TLS_CA_FILE", str(ca))
        url = running.url.replace("http://", "https://")
        status, findings = asked("--server", running.grpc.target, "--gateway", url)
    assert status == 1 and ["speaks no TLS" in each["what"] for each in findings] == [True, True]
    status, findings = asked("--server", "no.such.host.invalid:50053", "--gateway", "http://no.such.host.invalid")
    assert status == 1 and ["is unknown" in each["what"] for each in findings] == [True, True]


def test_what_does_not_answer_is_ill_with_advice() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    status, findings = asked("--server", nobody, "--gateway", f"http://{nobody}")
    assert status == 1 and findings[0]["state"] == "ill" and "--server" in findings[0]["advice"]
    assert all(each["advice"] for each in findings if each["state"] != "well")


@contextmanager
def another_program(body: bytes) -> Iterator[str]:
    """Runs a program that says of every path that it is ready."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_a_gateway_that_is_named_has_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with shop(tmp_path / "data") as running:
        running.grpc.upsert(rows()[:3])

        def state(*arguments: str) -> tuple[int, str]:
            status, findings = asked("--server", running.grpc.target, *arguments)
            assert findings[-1]["state"] == "well" or "--gateway" in findings[-1]["advice"]
            return status, findings[-1]["state"]

        dead = f"http://127.0.0.1:{free_port()}"
        for url in (dead, "localhost:8080", "http://[", "http://"):
            assert state("--gateway", url) == (1, "ill"), url
        # Who names none may have none.
        monkeypatch.setattr("cli.commands.doctor._DEFAULT_GATEWAY", dead)
        assert state() == (0, "look")
        for body in (b"ready\n", b'{"status": "ok"}', b"[1]"):
            with another_program(body) as url:
                assert state("--gateway", url) == (1, "ill"), body
                monkeypatch.setattr("cli.commands.doctor._DEFAULT_GATEWAY", url)
                assert state() == (0, "look")
        assert state("--gateway", f"{running.url}/") == (0, "well")
        monkeypatch.setattr("cli.commands.doctor._DEFAULT_GATEWAY", running.url)
        assert state() == (0, "well")


def test_a_redis_that_fails_is_ill(tmp_path: Path) -> None:
    with shop(tmp_path / "data", redis_url=f"redis://127.0.0.1:{free_port()}/0") as running:
        running.grpc.upsert(rows()[:3])
        status, findings = asked("--server", running.grpc.target, "--gateway", "")
        assert status == 1
        (ill,) = [each for each in findings if each["state"] == "ill"]
        assert "Redis" in ill["what"] and "log" in ill["advice"]
