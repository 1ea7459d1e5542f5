"""The Helm chart renders what the overlays of kustomize render, valid, and with what its values change."""

import copy
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.gateway.middleware.request import FORM_OVERHEAD_BYTES
from services.vision.decode import MAX_IMAGE_BYTES
from tests.support.kubernetes import KUBERNETES, VERSIONS, overlay_manifests

if importlib.util.find_spec("helm_python") is None:
    pytest.skip("helm-python-sdk has no wheel for this platform", allow_module_level=True)
# Helm is a Go library. In a process with other tests' threads and signal handlers its runtime has ended that process.
HELM = """
import json, sys
import helm_python as helm

folder, namespace = sys.argv[1:]
if namespace:
    with helm.Chart.load(folder) as chart:
        print(json.dumps(chart.render(json.load(sys.stdin), name="fashion", namespace=namespace)))
else:
    print(json.dumps(helm.lint(folder)))
"""
ROOT = Path(__file__).parents[2]
# What kustomize appends to names of what it generates.
HASH = "-[bcdfghkmt2456789]{10}"
PRODUCTION = {"image": {"registry": "registry.example/"}}
QUEUE = {**PRODUCTION, **yaml.safe_load((KUBERNETES / "values-queue.yaml").read_text())}
DEVELOPMENT = yaml.safe_load((KUBERNETES / "values-dev.yaml").read_text())


def helm(values: dict[str, Any], namespace: str) -> Any:
    command = [sys.executable, "-c", HELM, str(KUBERNETES), namespace]
    ended = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def rendered(values: dict[str, Any], namespace: str = "fashion") -> list[dict[str, Any]]:
    files = helm(values, namespace)
    manifests = [text for name, text in files.items() if name.endswith(".yaml")]
    return [each for text in manifests for each in yaml.safe_load_all(text) if each]


def by_name(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(each["kind"], re.sub(HASH + "$", "", each["metadata"]["name"])): each for each in documents}
    assert len(found) == len(documents)
    return found


def workload(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [d for d in documents if d["metadata"]["name"] == name and "template" in d["spec"]]
    return found


def pod(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return dict(workload(documents, name)["spec"]["template"]["spec"])


def env(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (container,) = pod(documents, name)["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def story(document: dict[str, Any]) -> Any:
    """Returns a manifest without what each tool adds by itself: labels, hashes in names, order of variables."""
    plain = copy.deepcopy(document)
    for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
        plain["metadata"].get("labels", {}).pop(label, None)
    if not plain["metadata"].get("labels"):
        plain["metadata"].pop("labels", None)
    template = plain.get("spec", {}).get("template", {})
    template.get("metadata", {}).pop("creationTimestamp", None)
    if template.get("metadata", {}).get("annotations", {}).pop("fashion/start-redis", None):
        del template["metadata"]["annotations"]
    for container in template.get("spec", {}).get("containers", []):
        container["env"] = {each["name"]: each for each in container.get("env", [])}
    return yaml.safe_load(re.sub(rf"\b(fashion-[a-z-]+){HASH}\b", r"\1", yaml.safe_dump(plain)))


@pytest.mark.parametrize(
    ("overlay", "values", "namespace"),
    [("production", PRODUCTION, "fashion"), ("queue", QUEUE, "fashion"), ("dev", DEVELOPMENT, "fashion-dev")],
)
def test_the_chart_tells_the_story_of_the_overlay(
    tmp_path: Path, overlay: str, values: dict[str, Any], namespace: str
) -> None:
    kustomized = by_name([story(each) for each in overlay_manifests(overlay, tmp_path)])
    charted = by_name([story(each) for each in rendered(values, namespace)])
    # Made beforehand: the namespace, and with the chart the secrets.
    kustomized = {key: each for key, each in kustomized.items() if key[0] not in {"Namespace", "Secret"}}
    assert charted.keys() == kustomized.keys()
    for key, document in charted.items():
        assert document == kustomized[key], key


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, PRODUCTION, QUEUE, DEVELOPMENT], ids=["defaults", "production", "queue", "dev"])
def test_every_manifest_of_the_chart_is_valid(version: str, values: dict[str, Any]) -> None:
    for document in rendered(values):
        kubernetes_validate.validate(document, version, strict=True)


def test_values_change_what_they_name() -> None:
    documents = rendered(
        {
            "image": {"registry": "r.example/", "tag": "1.2.3", "pullSecrets": ["r"]},
            "profile": "",
            "embedder": {
                "replicas": 5,
                "autoscaling": False,
                "resources": {"limits": {"memory": "3Gi"}},
                "env": {"EMBEDDER_THREADS": 4, "SECRET": {"secretKeyRef": {"name": "s", "key": "k"}}},
                "annotations": {"a": "b"},
                "pod": {"nodeSelector": {"disk": "fast"}, "terminationGracePeriodSeconds": 60},
            },
            "gateway": {"autoscaling": {"maxReplicas": 9}, "env": {"GATEWAY_PUBLIC_READ": "false"}},
            "search": {"storage": {"storageClassName": "fast", "resources": {"requests": {"storage": "50Gi"}}}},
            "ingress": {"host": "similar.shop.example", "className": "nginx", "tlsSecret": "tls"},
            "networkPolicies": False,
            "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
        }
    )
    for document in documents:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    (container,) = pod(documents, "embedder")["containers"]
    assert container["image"] == "r.example/fashion-embedder:1.2.3"
    assert container["resources"] == {"limits": {"memory": "3Gi"}}
    assert workload(documents, "embedder")["spec"]["replicas"] == 5
    annotations = workload(documents, "embedder")["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"a": "b", "prometheus.io/scrape": "true", "prometheus.io/port": "9090"}
    assert pod(documents, "embedder")["nodeSelector"] == {"disk": "fast"}
    assert pod(documents, "embedder")["terminationGracePeriodSeconds"] == 60
    assert pod(documents, "redis")["imagePullSecrets"] == [{"name": "r"}]
    settings = env(documents, "embedder")
    assert settings["EMBEDDER_THREADS"] == "4" and settings["SECRET"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert "SERVER_PROFILE" not in settings and settings["SERVER_KEYS_FILE"] == "/etc/fashion/keys/keys.json"
    assert env(documents, "gateway")["GATEWAY_PUBLIC_READ"] == "false"
    (claim,) = workload(documents, "search")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast" and claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    kinds = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert [name for kind, name in kinds if kind == "HorizontalPodAutoscaler"] == ["gateway"]
    assert ("Ingress", "gateway") in kinds and ("ConfigMap", "more") in kinds
    assert not any(kind == "NetworkPolicy" for kind, _ in kinds)


def test_the_documented_values_make_valid_manifests_that_take_the_largest_photograph() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^    image: \{.*\n(?:    .*\n)+", page, re.MULTILINE)
    documents = rendered(yaml.safe_load(example))
    for document in documents:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    # Redis refuses writes before its container is full.
    (limit,) = [each["resources"]["limits"]["memory"] for each in pod(documents, "redis")["containers"]]
    assert env(documents, "redis")["MAX_MEMORY"] == f"{int(limit.removesuffix('Mi')) * 3 // 4}mb"
    (ingress,) = [each for each in documents if each["kind"] == "Ingress"]
    size = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    # Of nginx: "m" is 1024 times 1024.
    assert int(size.removesuffix("m")) * 1024 * 1024 >= MAX_IMAGE_BYTES + FORM_OVERHEAD_BYTES
    assert f"`client_max_body_size {size}`" in page


def test_a_redis_of_ones_own_leaves_none_behind() -> None:
    url = {"env": {"REDIS_URL": "rediss://redis.example:6379/0"}}
    documents = rendered({"redis": {"enabled": False}, "search": url, "classifier": url})
    assert not any("redis" in each["metadata"]["name"] for each in documents)
    assert env(documents, "search")["REDIS_URL"] == "rediss://redis.example:6379/0"


@pytest.mark.parametrize(
    "values",
    [
        {"embeder": {}},
        {"embedder": {"replica": 2}},
        {"search": {"replicas": 2}},
        {"image": {"registry": "registry.example"}},
        {"profile": "prod"},
        {"gateway": {"env": {"lower": "x"}}},
    ],
)
def test_values_with_a_mistake_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        rendered(values)
    assert "values don't meet the specifications of the schema" in caught.value.stderr


def test_a_number_of_replicas_is_refused_beside_an_autoscaler() -> None:
    for values in ({"gateway": {"replicas": 3}}, {"embedder": {"replicas": 3, "autoscaling": {"minReplicas": 3}}}):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            rendered(values)
        assert "set autoscaling.minReplicas, or autoscaling to false" in caught.value.stderr
    assert workload(rendered({"classifier": {"replicas": 3}}), "classifier")["spec"]["replicas"] == 3


def test_lint_finds_nothing_but_the_missing_icon() -> None:
    found = helm({}, "")
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"] and not found["errors"]
