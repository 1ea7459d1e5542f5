"""The element's examples: React in a browser, Shopify's block as drawn by Liquid, WooCommerce's plugin as PHP.

Needs npm and its registry; skipped by name without them.
"""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Answer, Open, serving
from tests.support.gateways import Shop
from tests.support.processes import ROOT

EXAMPLES = ROOT / "deploy/examples"
TOOLS = ("esbuild@0.25.12", "liquidjs@10.24.0", "php-parser@3.2.5", "@shopify/theme-check-node@3.29.1")
REACT = {"18": "18.3.1", "19": "19.2.0"}
PRODUCT = "men-tshirts-blue-0"

# The data that Shopify gives the block.
LIQUID: dict[str, Any] = {
    "product": {
        "handle": "tee",
        "has_only_default_variant": False,
        "selected_or_first_available_variant": {"sku": "T-1", "options": ["Light Blue", "M"]},
    },
    "cart": {"items": [{"sku": "T-2"}, {"sku": None}, {"sku": 'T-"3'}], "currency": {"iso_code": "EUR"}},
    "block": {
        "settings": {
            "gateway": "https://similar.example",
            "filter": "gender=Men&price=..80",
            "limit": 6,
            "heading": "A & B",
        },
        "shopify_attributes": "",
    },
}
DRAW = """
const { Liquid } = require("liquidjs");
const engine = new Liquid();
for (const name of ["schema", "stylesheet"]) {
  engine.registerTag(name, {
    parse(_, tokens) {
      while (tokens.length && tokens.shift().name !== `end${name}`);
    },
    render() {},
  });
}
const slug = (text) => String(text).toLowerCase().replace(/[^a-z0-9]+/g, "-");
engine.registerFilter("handleize", slug);
const [text, data] = JSON.parse(require("fs").readFileSync(0));
engine.parseAndRender(text, data).then((html) => process.stdout.write(html));
"""
CHECK = """
const { themeCheckRun } = require("@shopify/theme-check-node");
const theme = require("fs").readFileSync(0, "utf8");
themeCheckRun(theme, undefined, () => {}).then(({ offenses }) => {
  const texts = offenses.map(({ check, message }) => `${check}: ${message}`);
  require("fs").writeFileSync("offenses.json", JSON.stringify(texts));
});
"""
PARSE = """
const Parser = require("php-parser");
const parser = new Parser({ parser: { php8: true, suppressErrors: false } });
const tree = parser.parseCode(require("fs").readFileSync(0, "utf8"), "plugin.php");
const functions = tree.children.filter((each) => each.kind === "function");
process.stdout.write(JSON.stringify(functions.map((each) => each.name.name)));
"""
PAGE = """<!doctype html><html lang="en"><body><main id="shop"></main>
<script type="module" src="/app.js"></script></body></html>"""
APP = """
import React, { useState } from "react";
import { createRoot } from "react-dom/client";
import { SimilarItems } from "./SimilarItems.jsx";

function Shop() {
  const [cart, setCart] = useState([]);
  return (
    <>
      <p id="cart">{cart.join(" ")}</p>
      <SimilarItems gateway={window.gateway} productId="PRODUCT" limit={4} exclude={cart} minSimilarity={0.1}
        filter={{ base_colour: ["Blue", "Navy Blue"], gender: "Men" }} currency="EUR" heading="Also"
        version={window.element.version} integrity={window.element.integrity}
        onSelect={(event) => { event.preventDefault(); setCart([...cart, event.detail.product.id]); }} />
    </>
  );
}

createRoot(document.getElementById("shop")).render(<React.StrictMode><Shop /></React.StrictMode>);
"""


def _install(folder: Path, *packages: str) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the element's examples are not tested")
    folder.mkdir()
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {', '.join(packages)}: the element's examples are not tested")
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _install(tmp_path_factory.mktemp("npm") / "tools", *TOOLS)


def _node(tools: Path, script: str, given: str) -> str:
    command = ["node", "-e", script]
    return subprocess.run(
        command, input=given, cwd=tools, capture_output=True, text=True, timeout=60, check=True
    ).stdout


class _Tags(HTMLParser):
    """Collects the elements, and the scripts' addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[dict[str, str | None]] = []
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "similar-items":
            self.elements.append(dict(attrs))
        if tag == "script":
            self.scripts.append(dict(attrs).get("src"))


def _drawn(tools: Path, **changes: Any) -> _Tags:
    text = (EXAMPLES / "shopify/blocks/similar-items.liquid").read_text()
    tags = _Tags()
    tags.feed(_node(tools, DRAW, json.dumps([text, {**LIQUID, **changes}])))
    return tags


def test_the_block_for_shopify_draws_the_element(tools: Path) -> None:
    tags = _drawn(tools)
    assert tags.scripts == ["https://similar.example/elements/similar-items.js"]
    assert tags.elements == [
        {
            "gateway": "https://similar.example",
            "product-id": "T-1",
            "exclude": 'T-2,T-"3',
            "filter": "gender=Men&price=..80",
            "currency": "EUR",
            "limit": "6",
            "heading": "A & B",
        }
    ]
    plain = {**LIQUID["product"], "selected_or_first_available_variant": {"sku": "", "options": ["Light Blue", "M"]}}
    assert _drawn(tools, product=plain).elements[0]["product-id"] == "tee-light-blue-m"
    assert _drawn(tools, product={**plain, "has_only_default_variant": True}).elements[0]["product-id"] == "tee"
    unset = {"settings": {**LIQUID["block"]["settings"], "gateway": ""}}
    assert _drawn(tools, block=unset).elements == []


@pytest.mark.parametrize(
    ("before", "after", "offence"),
    [
        ("", "", None),
        ("| escape", "| escapee", "UnknownFilter: Unknown filter 'escapee' used."),
        ("product.handle", "produkt.handle", "UndefinedObject: Unknown object 'produkt' used."),
    ],
)
def test_shopifys_own_linter_finds_no_fault_in_the_block(
    tools: Path, tmp_path: Path, before: str, after: str, offence: str | None
) -> None:
    text = (EXAMPLES / "shopify/blocks/similar-items.liquid").read_text()
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks/similar-items.liquid").write_text(text.replace(before, after))
    _node(tools, CHECK, str(tmp_path))
    offences = json.loads((tools / "offenses.json").read_text())
    assert not offences if offence is None else offence in offences


def test_the_settings_of_the_block_are_those_that_it_uses() -> None:
    text = (EXAMPLES / "shopify/blocks/similar-items.liquid").read_text()
    schema = json.loads(text.split("{% schema %}")[1].split("{% endschema %}")[0])
    assert {each["id"] for each in schema["settings"]} == {"gateway", "heading", "limit", "filter"}
    assert all(f"block.settings.{each['id']}" in text for each in schema["settings"])


def test_the_plugin_for_woocommerce_is_php(tools: Path) -> None:
    code = (EXAMPLES / "woocommerce/fashion-similar-items.php").read_text()
    assert json.loads(_node(tools, PARSE, code)) == ["fashion_product_id", "fashion_cart_ids", "fashion_similar_items"]
    with pytest.raises(subprocess.CalledProcessError):
        _node(tools, PARSE, code.replace("return '';", "return ''", 1))


@pytest.mark.parametrize("version", REACT)
def test_the_component_runs_in_react(
    open_page: Open, stocked: Shop, foreign_port: int, tools: Path, tmp_path: Path, version: str
) -> None:
    folder = _install(tmp_path / "app", f"react@{REACT[version]}", f"react-dom@{REACT[version]}")
    (folder / "app.jsx").write_text(APP.replace("PRODUCT", PRODUCT))
    shutil.copy(EXAMPLES / "react/SimilarItems.jsx", folder)
    esbuild = [str(tools / "node_modules/.bin/esbuild"), "app.jsx", "--bundle", "--jsx=automatic", "--format=esm"]
    bundled = subprocess.run([*esbuild, "--define:process.env.NODE_ENV='development'"], cwd=folder, capture_output=True)
    assert bundled.returncode == 0, bundled.stderr.decode()
    element = stocked.http.get("/elements/manifest.json").json()["similar-items"]
    given = f"window.gateway = {json.dumps(stocked.url)}; window.element = {json.dumps(element)};"

    def answer(path: str) -> Answer:
        if path == "/app.js":
            return Answer(given.encode() + bundled.stdout, "text/javascript")
        return Answer(PAGE.encode()) if path == "/" else Answer(b"", "image/x-icon")

    asked: list[str] = []
    with serving(answer, foreign_port) as url, open_page() as page:
        page.on("request", lambda request: asked.append(request.url) if "/similar?" in request.url else None)
        page.goto(url)
        cards = page.locator("similar-items [part=card]")
        # All blue ones for men but the product itself.
        expect(cards).to_have_count(3)
        expect(page.get_by_role("heading", name="Also")).to_be_visible()
        assert len(asked) == 1, "in strict mode too"
        for expected in ("limit=4", "min_similarity=0.1", "base_colour=Blue&base_colour=Navy+Blue", "gender=Men"):
            assert expected in asked[0]
        cards.first.click()
        expect(cards).to_have_count(2)
        chosen = page.locator("#cart").text_content()
        assert chosen
        assert f"excluded={chosen}" in asked[-1]
        assert page.locator("script[integrity]").count() == 1
