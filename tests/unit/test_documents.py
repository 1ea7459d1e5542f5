"""What the documents name is there: paths, links, folders, `make` targets, commands and settings."""

import importlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.demo.material import EXAMPLE_PHOTOGRAPH
from cli.main import ENTRIES

ROOT = Path(__file__).parents[2]
SETTING = re.compile(r"\b(?:SERVER|CLIENT|EMBEDDER|CLASSIFIER|SEARCH|GATEWAY|REDIS|OTEL)_[A-Z_]+\b")
# Reasons of errors and values of enumerations look alike.
NO_SETTING = re.compile(r"_(UNAVAILABLE|NOT_READY|ENDED)$|^SEARCH_SCOPE_")


@cache
def files() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(ROOT / line for line in listed.splitlines())


@cache
def commands() -> dict[str, Any]:
    """Returns the commands of `fashion`, those of groups by both words."""
    found = {}
    for entry in ENTRIES:
        command = typer.main.get_command(getattr(importlib.import_module(entry.module), entry.attribute))
        found[entry.name] = command
        found |= {f"{entry.name} {name}": each for name, each in getattr(command, "commands", {}).items()}
    return found


def quoted(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", document.read_text(encoding="utf-8"))


def examples(document: Path) -> Iterator[str]:
    """Yields what is quoted, and the lines of blocks of code, those that go on in the next made one."""
    yield from quoted(document)
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"^ {4}(.+)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "document", [each for each in files() if each.suffix == ".md"], ids=lambda each: str(each.relative_to(ROOT))
)
class TestDocument:
    def test_links_lead_somewhere(self, document: Path) -> None:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if target.startswith(("http:", "https:")):
                continue
            path, _, anchor = target.partition("#")
            linked = document.parent / path if path else document
            assert linked.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}, target

    def test_paths_exist(self, document: Path) -> None:
        tops = "|".join(sorted({re.escape(each.relative_to(ROOT).parts[0]) for each in files() if each.parent != ROOT}))
        for text in quoted(document):
            path = re.fullmatch(rf"(?:{tops})/[\w./-]+", text)
            assert path is None or "NAME" in text or (ROOT / text).exists(), text

    def test_photographs_are_those_that_the_demo_leaves(self, document: Path) -> None:
        for text in examples(document):
            for photograph in re.findall(r"""(?:@|--image |search |open\(")([\w./-]+\.(?:jpe?g|png|webp))""", text):
                assert Path(photograph) == EXAMPLE_PHOTOGRAPH, text

    def test_make_targets_exist(self, document: Path) -> None:
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        for text in examples(document):
            assert set(re.findall(r"^make ([a-z]+)", text)) <= targets, text

    def test_commands_and_their_options_exist(self, document: Path) -> None:
        for text in examples(document):
            called = re.match(r"(?:\S*/)?fashion ([a-z]\S*)(?: ([a-z]\S*))?", text)
            if called is None:
                continue
            assert called[1] in commands(), text
            command = commands().get(f"{called[1]} {called[2]}", commands()[called[1]])
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            assert set(re.findall(r"(?<= )--[a-z][a-z-]*", text)) <= known | {"--help"}, text

    def test_settings_exist(self, document: Path) -> None:
        known = set(SETTING.findall((ROOT / "docs" / "settings.md").read_text(encoding="utf-8")))
        found = SETTING.findall(document.read_text(encoding="utf-8"))
        assert {each for each in found if not NO_SETTING.search(each)} <= known

    def test_tests_exist(self, document: Path) -> None:
        linked = dict(re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", document.read_text(encoding="utf-8")))
        assert {each for each in quoted(document) if re.fullmatch(r"test_\w+", each)} == linked.keys()
        for name, path in linked.items():
            assert f"def {name}(" in (document.parent / path).read_text(encoding="utf-8"), name


def test_the_architecture_shows_every_folder() -> None:
    shown = set(re.findall(r"`([\w./-]+)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    folders = {"/".join(each.relative_to(ROOT).parts[:-1][:2]) for each in files()} - {"", "docs", "protos/fashion"}
    assert folders - shown == set()
