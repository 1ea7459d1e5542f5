"""Schemathesis reads the OpenAPI document and tries to break it, call by call and in sequences: bounded, seeded."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateways import KEY, Shop, bearer, shop
from tests.support.small_shop import rows

# What the document cannot say: which labels and ids the catalogue has (400, 404), which bytes are a photograph (413,
# 415). Whoever is named by a token is "ada".
CONFIGURATION = """
[parameters]
"path.user_id" = "ada"
"query.user_id" = "ada"
{parameters}
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "413", "415"]
# The model of this shop has no heads that find garments, which is said with the documented 501.
[[operations]]
include-path = "/v1/garments"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]
positive_data_acceptance.expected-statuses = ["501", "400", "401", "403", "413", "415"]
"""
METHODS = {"get", "put", "post", "delete", "patch"}
KNOWN = '"path.product_id" = "men-tshirts-blue-0"\n"path.colour" = "Blue"\n"query.article_type" = ["Tshirts"]'


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    with shop(directory, token_key=KEY, token_max_lifetime_s=3600, deadline_s=60.0) as found:
        found.grpc.upsert(rows())
        yield found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("parameters", "phases"),
    [("", "examples,coverage,fuzzing"), (KNOWN, "examples,fuzzing,stateful")],
    ids=["anything", "known products"],
)
def test_schemathesis_finds_nothing(catalogue: Shop, tmp_path: Path, parameters: str, phases: str) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(parameters=parameters))
    authorization = bearer("ada", KEY, 3600)["Authorization"]
    run = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            f"--config-file={configuration}",
            "run",
            f"{catalogue.url}/openapi.json",
            f"--header=Authorization: {authorization}",
            f"--phases={phases}",
            "--mode=all",
            "--checks=all",
            "--max-examples=10",
            "--seed=20190301",
            "--generation-deterministic",
            "--request-timeout=60",
            "--suppress-health-check=all",
            "--workers=1",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    # It has called every operation, and did not stop at the door of any.
    paths = httpx.get(f"{catalogue.url}/openapi.json").json()["paths"]
    operations = sum(len(METHODS & each.keys()) for each in paths.values())
    assert f"Tested: {operations}" in run.stdout, run.stdout[-3000:]
