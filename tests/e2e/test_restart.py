"""A rolling restart of every service under load fails no query of callers who do as the documents say."""

import json
import re
from pathlib import Path

import grpc

from offline.benchmark.restart import CONFIG, OPTIONS, PAUSES_S, restart
from tests.support.documents import python_example

ROOT = Path(__file__).parents[2]
FAKE = {
    "EMBEDDER_RUNTIME": "fake",
    "CLASSIFIER_BUNDLE": "imagenet",
    # A busy machine must not look like a fault.
    "SERVER_QUERY_DEADLINE_S": "60",
    "SEARCH_EMBEDDER_TIMEOUT_S": "60",
    "GATEWAY_DEADLINE_S": "60",
}
PARTS = ("embedder", "embedder 2", "classifier", "search", "gateway", "gateway 2")


def test_the_settings_are_those_of_the_documents() -> None:
    names: dict[str, object] = {"grpc": grpc}
    exec(python_example("docs/api.md", "healthCheckConfig"), names)
    assert names["config"] == CONFIG
    assert [tuple(option) for option in names["options"]] == list(OPTIONS)  # type: ignore[attr-defined]
    assert json.loads(dict(OPTIONS)["grpc.service_config"]) == CONFIG
    text = " ".join((ROOT / "docs" / "http.md").read_text(encoding="utf-8").split())
    (pauses,) = re.findall(r"after ([\d., ]+) and then (\d+) seconds", text)
    shown = [*map(float, re.findall(r"[\d.]+\d|\d", pauses[0])), float(pauses[1])]
    assert list(dict.fromkeys(PAUSES_S)) == shown


def test_no_query_fails_while_every_service_restarts() -> None:
    figures = restart(1, 0, environment=FAKE, products=32, rate=20)
    assert figures["problems"] == []
    assert tuple(figures["restarts"]) == PARTS
    # The load went on all the time: each restart was felt by somebody, or came and went unnoticed within seconds.
    assert figures["queries"] > figures["a_second"] * figures["seconds"] * 0.8
