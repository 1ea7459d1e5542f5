"""Alerts and dashboard: they name metrics that exist, each alert is tried and has its entry for who is called."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DOCUMENTED = set(re.findall(r"^\| `(fashion_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return list(group["rules"])


def unknown(expression: str) -> set[str]:
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bfashion_\w+", expression)}
    return named - DOCUMENTED


def test_alerts_and_dashboard_name_metrics_that_exist() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "fashion.json").read_text())
    expressions = [rule["expr"] for rule in alerts()]
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) > 30
    assert {expression: unknown(expression) for expression in expressions if unknown(expression)} == {}


def adapter_rule() -> dict[str, Any]:
    (rule,) = yaml.safe_load((PROMETHEUS / "adapter.yml").read_text())["rules"]["custom"]
    return dict(rule)


def test_the_autoscaler_goes_by_a_metric_that_the_adapter_makes_of_one_of_ours() -> None:
    rule = adapter_rule()
    assert unknown(rule["seriesQuery"]) == set()
    patch = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/queue/queue.yaml").read_text())
    by_queue, by_processor = patch["spec"]["metrics"]
    assert by_queue["pods"]["metric"]["name"] == rule["name"]["as"]
    # A cluster without the metric scales as one without the overlay.
    base = yaml.safe_load_all((ROOT / "deploy/kubernetes/base/embedder.yaml").read_text())
    assert [each["spec"]["metrics"] for each in base if each["kind"] == patch["kind"]] == [[by_processor]]


def promtool(*arguments: str) -> None:
    """Runs promtool beside the rules; it has to find nothing wrong."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    ended = subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_adapter_asks_for_the_photographs_of_both_lanes_of_each_pod(tmp_path: Path) -> None:
    series = re.sub(r"\{.*", "", adapter_rule()["seriesQuery"])
    query = adapter_rule()["metricsQuery"]
    for part, text in (("Series", series), ("LabelMatchers", 'namespace="fashion"'), ("GroupBy", "pod")):
        query = query.replace(f"<<.{part}>>", text)
    assert "<<" not in query

    def input_series(pod: str, lane: str, values: str, namespace: str = "fashion") -> dict[str, str]:
        return {
            "series": f'{series}{{namespace="{namespace}", pod="{pod}", lane="{lane}"}}',
            "values": values,
        }

    test = {
        "interval": "15s",
        "input_series": [
            input_series("a", "query", "4 4 4 4 4"),
            input_series("a", "batch", "10 10 10 10 10"),
            input_series("b", "query", "0 0 0 0 0"),
            input_series("a", "query", "99 99 99 99 99", "another"),
        ],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "1m",
                "exp_samples": [{"labels": '{pod="a"}', "value": 14}, {"labels": '{pod="b"}', "value": 0}],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [test]}))
    promtool("test", "rules", str(tmp_path / "test.yml"))


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in json.loads((ROOT / "deploy/grafana/fashion.json").read_text())["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_each_alert_is_seen_to_fire_and_says_what_to_do() -> None:
    names = {rule["alert"] for rule in alerts()}
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert fired == names
    _, _, entries = (ROOT / "docs" / "operating.md").read_text().partition("## Alerts\n")
    assert set(re.findall(r"^\| `(Fashion\w+)` \|", entries, re.MULTILINE)) == names


def test_every_service_that_prometheus_finds_by_name_is_missed_when_it_is_gone() -> None:
    (expression,) = [rule["expr"] for rule in alerts() if rule["alert"] == "FashionGone"]
    jobs = [each["job_name"] for each in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]]
    assert re.findall(r'up\{job=~"fashion\|([\w-]+)"', expression) == jobs
    components = [job.removeprefix("fashion-") for job in jobs]
    assert re.findall(r'app_kubernetes_io_component="([\w-]+)"', expression) == components


def test_prometheus_takes_the_rules_and_they_do_as_their_tests_say() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "rules_test.yml")
