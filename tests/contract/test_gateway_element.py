"""The element's files: the address that never changes, the manifests, and what the documents say of them."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator

import pytest

from services.gateway.routes.pages import WEB
from tests.contract.test_gateway_edge import problem
from tests.support.gateways import Shop, shop
from tests.support.processes import ROOT

SCRIPT = "/elements/similar-items.js"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as it:
        yield it


def test_the_address_with_the_version_holds_the_same_script_for_good(running: Shop) -> None:
    manifest = running.http.get("/elements/manifest.json", headers={"Origin": "https://shop.example"})
    element = manifest.json()["similar-items"]
    assert manifest.headers["cache-control"] == "no-cache"
    answer = running.http.get(element["path"], headers={"Origin": "https://shop.example"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*" == manifest.headers["access-control-allow-origin"]
    assert answer.content == running.http.get(SCRIPT).content
    digest = base64.b64encode(hashlib.sha384(answer.content).digest()).decode()
    assert element["integrity"] == f"sha384-{digest}"
    assert element["path"] == f"/elements/similar-items-{element['version']}.js"
    assert running.http.get(element["path"], headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_another_version_is_refused_with_the_one_that_is_there(running: Shop) -> None:
    path = running.http.get("/elements/manifest.json").json()["similar-items"]["path"]
    answer = running.http.get("/elements/similar-items-0123456789ab.js")
    problem(answer, 404, "PAGE_NOT_FOUND")
    assert path in answer.json()["detail"]
    assert answer.headers.get("cache-control") != "public, max-age=31536000, immutable"


def test_the_document_names_the_version_and_its_hash(running: Shop) -> None:
    element = running.http.get("/elements/manifest.json").json()["similar-items"]
    text = (ROOT / "docs/element.md").read_text()
    assert re.findall(r"/elements/similar-items-[0-9a-f]{6,}\.js", text) == [element["path"]]
    assert re.findall(r"sha384-[A-Za-z0-9+/=]{20,}", text) == [element["integrity"]]


def test_the_manifest_for_editors_names_what_the_code_has(running: Shop) -> None:
    manifest = running.http.get("/elements/custom-elements.json").json()
    assert manifest == json.loads((WEB / "elements/custom-elements.json").read_text())
    (declaration,) = manifest["modules"][0]["declarations"]
    source = (WEB / "elements/similar-items.js").read_text()
    listed = re.search(r"const ATTRIBUTES = \[(.*?)\];", source, re.DOTALL)
    assert listed is not None
    names = re.findall(r'"([a-z-]+)"', listed[1])
    assert sorted(each["name"] for each in declaration["attributes"]) == sorted(names)
    fields = [each for each in declaration["members"] if each["kind"] == "field"]
    assert [each["attribute"] for each in fields] == [each["name"] for each in declaration["attributes"]]
    camel = {name: re.sub("-(.)", lambda letter: letter[1].upper(), name) for name in names}
    assert {each["attribute"]: each["name"] for each in fields} == camel
    assert {each["name"] for each in declaration["events"]} == {
        f"similar-items:{name}" for name in re.findall(r'fire\([a-z.]+, "(\w+)"', source)
    }
    assert {each["name"] for each in declaration["cssProperties"]} == set(
        re.findall(r"--similar-items-[a-z-]+", source)
    )
    documented = (ROOT / "docs/element.md").read_text()
    for each in (*declaration["attributes"], *declaration["events"], *declaration["cssProperties"]):
        assert f"`{each['name']}`" in documented, each
    for each in declaration["cssParts"]:
        assert f"`{each['name']}`" in documented, each
