"""The lists of CONTRIBUTING name files that exist, at most nine, and that for attributes names all of them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILES = 9
HAND_WRITTEN = ("services", "cli", "offline/dataset", "offline/drawn", "protos")


def listed(heading: str) -> list[str]:
    """The first file that each entry of a list names."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


@pytest.mark.parametrize("heading", ["Add an attribute", "Add a filter", "Add an RPC"])
def test_a_list_names_at_most_nine_files_and_each_exists(heading: str) -> None:
    files = listed(heading)
    assert 0 < len(set(files)) == len(files) <= MAX_FILES
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_brand_stands_in_the_files_of_the_list_and_in_no_other() -> None:
    texts = (
        path
        for folder in HAND_WRITTEN
        for ending in ("py", "js", "proto")
        for path in (ROOT / folder).rglob(f"*.{ending}")
    )
    found = {str(path.relative_to(ROOT)) for path in texts if re.search(r"\bbrand\b", path.read_text(), re.IGNORECASE)}
    assert found == set(listed("Add an attribute"))
