"""Kubernetes: valid manifests that tell the same story as compose, and let nobody talk to whom they need not."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from services.gateway.settings import GatewaySettings
from services.serving.settings import ServerSettings
from tests.support.kubernetes import KUBERNETES, OURS, VERSIONS, kustomized, overlay_manifests

ROOT = Path(__file__).parents[2]
COMPONENT = "app.kubernetes.io/component"


def documents(*paths: Path) -> list[dict[str, Any]]:
    return [each for path in paths for each in yaml.safe_load_all(path.read_text()) if each]


BASE = documents(*sorted(p for p in (KUBERNETES / "base").glob("*.yaml") if p.name != "kustomization.yaml"))

REPLICAS = documents(KUBERNETES / "overlays" / "milvus" / "replicas.yaml")
NEXT = documents(KUBERNETES / "next" / "next.yaml")


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in BASE if each["kind"] in kinds}


WORKLOADS = of_kind("Deployment", "StatefulSet")


def container(name: str) -> dict[str, Any]:
    (found,) = WORKLOADS[name]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def variables(name: str) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(name)["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    namespaces = documents(*KUBERNETES.glob("overlays/*/namespace.yaml"))
    for document in [*BASE, *NEXT, *REPLICAS, *namespaces]:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_manifest_with_a_mistake_is_not_valid() -> None:
    wrong = {**WORKLOADS["search"], "spec": {**WORKLOADS["search"]["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", OURS)
def test_compose_and_kubernetes_set_the_same(name: str) -> None:
    there, here = compose()[name], variables(name)
    # The drain is longer where endpoints travel through a cluster; secrets and what differs by shop come by reference.
    assert there["environment"].keys() == here.keys()
    for variable, value in there["environment"].items():
        if variable == "SERVER_DRAIN_DELAY_S" or isinstance(here[variable], dict):
            continue
        assert here[variable] == value
    limits = container(name)["resources"]["limits"]
    assert limits["cpu"] == there["deploy"]["resources"]["limits"]["cpus"]
    assert limits["memory"] == there["deploy"]["resources"]["limits"]["memory"].replace("M", "Mi").replace("G", "Gi")
    ports = {each["name"]: each["containerPort"] for each in container(name)["ports"]}
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert ports.pop("admin") == 9090 and "SERVER_ADMIN_HOST=0.0.0.0 SERVER_ADMIN_PORT=9090" in dockerfile
    (port,) = ports.values()
    assert f"_PORT={port}" in dockerfile


@pytest.mark.parametrize("name", ["embedder", "classifier"])
def test_the_next_model_is_served_as_the_live_one_is(name: str) -> None:
    next_name = f"{name}-next"
    (found,) = [each for each in NEXT if each["kind"] == "Deployment" and each["metadata"]["name"] == next_name]
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert labels[COMPONENT] == next_name, "Callers of the live one would reach it."
    (served,) = found["spec"]["template"]["spec"]["containers"]
    expected = {**container(name), "name": next_name}
    expected["env"] = [
        {**each, "value": each["value"].replace("//embedder:", "//embedder-next:")} if "value" in each else each
        for each in expected["env"]
    ]
    assert served == expected
    there, here = compose()[next_name], compose()[name]
    assert there["profiles"] == ["next"]
    changed = {variable for variable, value in there["environment"].items() if value != here["environment"][variable]}
    assert changed == ({"CLASSIFIER_EMBEDDER_TARGET"} if name == "classifier" else set())
    assert [each.replace("NEXT_", "") for each in there["volumes"]] == here["volumes"]
    targets = [value for each, value in variables("search").items() if each.startswith("SEARCH_NEXT_")]
    assert any(f"//{next_name}:" in each for each in targets)


def test_both_run_the_same_redis() -> None:
    (image,) = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["images"]
    assert f"{image['newName']}:{image['newTag']}" == compose()["redis"]["image"]
    assert compose()["redis"]["command"] == container("redis")["command"]
    script = container("redis")["command"][-1].rpartition("/")[2]
    generated = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    assert generated == [{"name": "fashion-redis-start", "files": [script]}]
    mounted = [each.split(":")[:2] for each in compose()["redis"]["volumes"]]
    assert [f"./deploy/kubernetes/base/{script}", container("redis")["command"][-1]] in mounted
    for name in ("search", "classifier"):
        url, file = variables(name)["REDIS_URL"], variables(name)["REDIS_PASSWORD_FILE"]
        assert url.startswith("rediss://") and "@" not in url
        assert f"redis-password:{file.rpartition('/')[0]}:ro" in compose()[name]["volumes"]


def test_redis_refuses_before_its_container_is_full() -> None:
    (megabytes,) = re.findall(r"MAX_MEMORY:-(\d+)mb", (KUBERNETES / "base" / "start-redis.sh").read_text())
    limits = (container("redis")["resources"]["limits"]["memory"], compose()["redis"]["deploy"]["resources"]["limits"])
    assert limits == ("256Mi", {"cpus": "0.5", "memory": "256M"})
    # The rest is for buffers and for pages that change while a file is rewritten.
    assert int(megabytes) == 0.75 * 256


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_may_run_where_security_is_restricted(name: str) -> None:
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert pod["automountServiceAccountToken"] is False
    security = container(name)["securityContext"]
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    # A list of processes, or of a pod's description, shows no password. Files are only named there.
    assert not any(
        "PASSWORD" in each["name"] or "KEY" in each["name"]
        for each in container(name).get("env", [])
        if "value" in each and not each["name"].endswith("_FILE")
    )


@pytest.mark.parametrize("name", OURS)
def test_a_pod_drains_before_it_is_killed(name: str) -> None:
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    grace_s = 20  # The default of SERVER_GRACE_S.
    assert pod["terminationGracePeriodSeconds"] > float(variables(name)["SERVER_DRAIN_DELAY_S"]) + grace_s
    probes = [container(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert [each["path"] for each in probes] == ["/readyz", "/readyz", "/healthz"]


def test_selectors_and_ports_meet() -> None:
    for name, service in of_kind("Service").items():
        labels = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= {
            each["name"] for each in container(name)["ports"]
        }
    for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert of_kind(kind).keys() <= WORKLOADS.keys()
    for name, workload in WORKLOADS.items():
        assert (
            workload["spec"]["selector"]["matchLabels"].items()
            <= workload["spec"]["template"]["metadata"]["labels"].items()
        )
        mounts = {each["name"] for each in container(name)["volumeMounts"]}
        claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        assert mounts == claims | {each["name"] for each in workload["spec"]["template"]["spec"]["volumes"]}


@pytest.mark.parametrize("name", OURS)
def test_both_mount_the_same_certificates_and_keys(name: str) -> None:
    # Kubernetes changes the image instead of the bundle in it.
    volumes = [
        each for each in compose()[name]["volumes"] if each.endswith(":ro") and not each.startswith("${BUNDLE:-")
    ]
    there = dict(each.rsplit(":", 1)[0].split(":")[:2] for each in volumes)
    signs_in = {"redis-password": "/etc/fashion/redis"} if "REDIS_URL" in variables(name) else {}
    assert there == {f"tls-{name}": "/etc/fashion/tls", "keys": "/etc/fashion/keys", **signs_in}
    mounts = {each["name"]: each for each in container(name)["volumeMounts"]}
    mounted = {each["name"]: each for each in WORKLOADS[name]["spec"]["template"]["spec"]["volumes"]}
    for volume, secret in (("tls", f"fashion-tls-{name}"), ("keys", "fashion-keys")):
        assert mounts[volume]["mountPath"] in there.values() and mounts[volume]["readOnly"]
        # The group of the pod's user reads it, and nobody else.
        assert mounted[volume]["secret"] == {"secretName": secret, "defaultMode": 0o440}
    folders = {str(Path(value).parent) for each, value in variables(name).items() if each.endswith("_FILE")}
    assert folders == set(there.values())


@pytest.mark.parametrize("name", OURS)
def test_no_service_takes_calls_without_tls_and_keys_but_the_gateway_behind_its_proxy(name: str) -> None:
    settings = variables(name)
    assert "SERVER_KEYS_FILE" in settings and "SERVER_ALLOW_WITHOUT_KEYS" not in settings
    assert ("SERVER_ALLOW_PLAINTEXT" in settings) is (name == "gateway")
    assert ("SERVER_TLS_CLIENT_CA_FILE" in settings) is (name != "gateway")


def test_the_proxy_before_the_gateway_may_take_what_all_callers_may() -> None:
    defaults = {name: field.default for name, field in GatewaySettings.model_fields.items()}
    own = [name for name in defaults if name.endswith("_per_address")]
    assert own
    expected = {f"GATEWAY_{name.upper()}": str(defaults[name.removesuffix("_per_address")]) for name in own}
    assert {name: value for name, value in variables("gateway").items() if name.endswith("_PER_ADDRESS")} == expected


def called() -> set[tuple[str, str, int]]:
    """Returns who calls whom on which port, by the settings of the services."""
    everybody = {name: variables(name) for name in OURS} | {
        each["metadata"]["name"]: {
            one["name"]: one.get("value") for one in each["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        for each in NEXT
        if each["kind"] == "Deployment"
    }
    found = {
        (name, target.hostname or "", target.port or 0)
        for name, its in everybody.items()
        for variable, value in its.items()
        if variable.endswith("_TARGET")
        for target in [urlsplit(str(value).replace("dns:///", "dns://"))]
    }
    return found | {(name, "redis", 6379) for name, its in everybody.items() if "REDIS_URL" in its}


def component(selector: dict[str, Any]) -> str:
    return str(selector["podSelector"]["matchLabels"][COMPONENT])


def allowed(manifests: Iterable[Any]) -> tuple[set[Any], set[Any]]:
    """Returns caller, callee and port of each call that policies let out, and of each that they let in."""
    outgoing, incoming = set(), set()
    for policy in [each for each in manifests if each["kind"] == "NetworkPolicy"]:
        spec = policy["spec"]
        if COMPONENT not in spec["podSelector"].get("matchLabels", {}):
            continue
        own = component(spec)
        for rule in spec.get("egress", []):
            outgoing |= {(own, component(to), port["port"]) for to in rule["to"] for port in rule["ports"]}
        for rule in spec.get("ingress", []):
            incoming |= {(component(each), own, port["port"]) for each in rule["from"] for port in rule["ports"]}
    return outgoing, incoming


def test_exactly_those_may_talk_that_call_one_another() -> None:
    outgoing, incoming = allowed((*BASE, *NEXT))
    assert outgoing == incoming == called()
    assert of_kind("NetworkPolicy")["nothing-else"]["spec"].keys() == {"podSelector", "policyTypes"}


def test_a_replica_of_search_is_the_search_without_its_data() -> None:
    (found,) = [each for each in REPLICAS if each["kind"] == "Deployment"]
    (served,) = found["spec"]["template"]["spec"]["containers"]
    here = {each["name"]: each for each in served["env"]}
    there = {each["name"]: each for each in container("search")["env"]}
    writer = documents(KUBERNETES / "overlays" / "milvus" / "writer.yaml")[0]
    (patched,) = writer["spec"]["template"]["spec"]["containers"]
    assert {name: each for name, each in here.items() if there.get(name) != each} == {
        **{each["name"]: each for each in patched["env"]},
        "SEARCH_WRITER_TARGET": {"name": "SEARCH_WRITER_TARGET", "value": "dns:///search:50053"},
        "SERVER_MAX_CONNECTION_AGE_S": {"name": "SERVER_MAX_CONNECTION_AGE_S", "value": "60"},
        "SERVER_PROFILE": {"name": "SERVER_PROFILE", "value": "production"},
    }
    assert there.keys() - here.keys() == {"SEARCH_DATA_DIR"}
    assert {each["name"] for each in served["volumeMounts"]} == {"tmp", "tls", "keys", "redis"}


def test_exactly_those_may_talk_to_a_replica_that_it_calls_or_is_called_by() -> None:
    outgoing, incoming = allowed(REPLICAS)
    called_by_search = {(name, port) for caller, name, port in called() if caller == "search"}
    expected = {("search-replica", name, port) for name, port in called_by_search | {("search", 50053)}}
    assert outgoing - {("gateway", "search-replica", 50053)} == expected
    # What the writer may reach, the replica reaches by policies of its own.
    assert incoming == outgoing


def numbered_beside_an_autoscaler(manifests: Iterable[Any]) -> set[str]:
    """Returns workloads that name a number of replicas, which an autoscaler says."""
    by_kind = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in manifests if "spec" in each}
    targets = [spec["scaleTargetRef"] for (kind, _), spec in by_kind.items() if kind == "HorizontalPodAutoscaler"]
    assert targets
    return {each["name"] for each in targets if "replicas" in by_kind[each["kind"], each["name"]]}


def test_no_apply_sets_the_number_of_an_autoscaler_back() -> None:
    assert numbered_beside_an_autoscaler(BASE) == numbered_beside_an_autoscaler(NEXT) == set()


def test_search_has_the_same_time_to_build_the_index_of_a_large_catalogue_everywhere() -> None:
    probe = container("search")["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 15 * 60
    assert compose()["search"]["healthcheck"] == {"start_period": "15m"}


def test_pods_may_ask_for_names_in_the_usual_kinds_of_clusters() -> None:
    asked = {
        (json.dumps(to), port["port"], port["protocol"])
        for rule in of_kind("NetworkPolicy")["names"]["spec"]["egress"]
        for to in rule["to"]
        for port in rule["ports"]
    }
    openshift = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}
    servers = [
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}, 53),
        ({"ipBlock": {"cidr": "169.254.20.10/32"}}, 53),
        (openshift, 5353),
    ]
    assert asked == {(json.dumps(to), port, protocol) for to, port in servers for protocol in ("UDP", "TCP")}


@pytest.mark.parametrize("name", ["embedder", "classifier", "search"])
def test_messages_that_arrive_slowly_take_a_quarter_of_a_service_at_most(name: str) -> None:
    default = ServerSettings.model_fields["max_unfinished_bytes"].default
    memory = container(name)["resources"]["limits"]["memory"]
    gibibytes = int(memory[:-2]) / (1024 if memory.endswith("Mi") else 1)
    assert int(variables(name).get("SERVER_MAX_UNFINISHED_BYTES", default)) <= gibibytes * 1024**3 / 4


def test_only_services_with_replicas_are_called_by_the_addresses_of_their_pods() -> None:
    headless = {name for name, each in of_kind("Service").items() if each["spec"].get("clusterIP") == "None"}
    # gRPC looks ever more seldom for a name that is gone, as that of a single pod that restarts is. Redis is asked by a
    # client that looks for it with each connection.
    assert headless == {"embedder", "classifier", "redis"}
    called_by_grpc = {name for _, name, port in called() if port != 6379 and name in WORKLOADS}
    replicas = {name: WORKLOADS[name]["spec"].get("replicas") for name in called_by_grpc}
    assert {name for name, number in replicas.items() if number == 1} == called_by_grpc - headless == {"search"}


def test_the_documented_load_is_the_one_that_adds_replicas() -> None:
    page = " ".join((ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split())
    shares = {}
    for name, autoscaler in of_kind("HorizontalPodAutoscaler").items():
        (metric,) = autoscaler["spec"]["metrics"]
        assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
        # An autoscaler measures against what is requested, not against what a pod may take.
        amounts = [container(name)["resources"][each]["cpu"] for each in ("requests", "limits")]
        shares[name] = tuple(int(each[:-1]) if each.endswith("m") else 1000 * int(each) for each in amounts)
    assert shares == {"embedder": (1000, 2000), "gateway": (250, 1000)}
    assert "70 % of the processor time that they request, which is half and a quarter of what they may take" in page
    assert "70 % of the one processor that a pod requests. That is a third of the two that it may use" in page


def test_a_backup_reaches_redis_and_the_volume_of_search_and_nothing_else(tmp_path: Path) -> None:
    made = kustomized("backup", tmp_path)
    (claim,) = documents(KUBERNETES / "backup" / "claim.yaml")
    for document in [*made, claim]:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    assert allowed(made) == ({("backup", "redis", 6379)},) * 2
    jobs = {each["metadata"]["name"]: each["spec"] for each in made if each["kind"] == "CronJob"}
    assert {name: each.get("suspend", False) for name, each in jobs.items()} == {"backup": False, "restore": True}
    there = {each["name"]: each["value"] for each in container("search")["env"] if each["name"].startswith("REDIS_")}
    for name, job in jobs.items():
        template = job["jobTemplate"]["spec"]["template"]
        assert template["metadata"]["labels"] == {"app.kubernetes.io/name": "fashion", COMPONENT: "backup"}
        (its,) = template["spec"]["containers"]
        here = {each["name"]: each["value"] for each in its["env"]}
        assert here == there | {"REDIS_USERNAME": "backup", "REDIS_PASSWORD_FILE": "/etc/fashion/redis/password"}
        assert its["securityContext"] == container("search")["securityContext"]
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        mounted = [each.get("persistentVolumeClaim", {}).get("claimName") for each in volumes.values()]
        claims = [each for each in mounted if each]
        assert claims == ["data-search-0", "fashion-backup"]
        # `users` beside it is for Redis alone.
        assert volumes["redis"]["secret"]["items"] == [{"key": "backup", "path": "password"}]
        # A volume of one node: beside search while it runs, and wherever there is room while it does not.
        assert ("affinity" in template["spec"]) is (name == "backup")
    (own,) = WORKLOADS["search"]["spec"]["volumeClaimTemplates"]
    assert (claim["metadata"]["name"], claim["spec"]) == (f"{own['metadata']['name']}-search-0", own["spec"])


@pytest.mark.parametrize("overlay", sorted(each.name for each in (KUBERNETES / "overlays").iterdir()))
def test_an_overlay_renders_to_valid_manifests(tmp_path: Path, overlay: str) -> None:
    rendered = overlay_manifests(overlay, tmp_path)
    assert {
        each["metadata"]["name"] for each in rendered if each["kind"] in {"Deployment", "StatefulSet"}
    } == WORKLOADS.keys() | ({"search-replica"} if overlay == "milvus" else set())
    for document in rendered:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"].startswith("fashion")
    assert numbered_beside_an_autoscaler(rendered) == set()
