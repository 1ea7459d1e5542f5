"""`fashion doctor` tells a well deployment from one in which something fails, and says what to do."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cli.commands.doctor import app
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


def test_what_does_not_answer_is_ill_with_advice() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    status, findings = asked("--server", nobody, "--gateway", f"http://{nobody}")
    assert status == 1 and findings[0]["state"] == "ill" and "--server" in findings[0]["advice"]
    assert all(each["advice"] for each in findings if each["state"] != "well")


def test_a_redis_that_fails_is_ill(tmp_path: Path) -> None:
    with shop(tmp_path / "data", redis_url=f"redis://127.0.0.1:{free_port()}/0") as running:
        running.grpc.upsert(rows()[:3])
        status, findings = asked("--server", running.grpc.target, "--gateway", "")
        assert status == 1
        (ill,) = [each for each in findings if each["state"] == "ill"]
        assert "Redis" in ill["what"] and "log" in ill["advice"]
