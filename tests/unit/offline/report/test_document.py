"""Documents in parts are what `json` writes at once."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from offline.report.document import document_parts
from offline.spool import Spool, form_of

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_the_text_is_that_of_json(value: Any) -> None:
    assert "".join(document_parts(value)) == json.dumps(value, ensure_ascii=False, indent=2)
    assert "".join(document_parts(value, only_ascii=True)) == json.dumps(value, indent=2)


@dataclass
class _Finding:
    line: int
    names: tuple[str, ...]


def test_data_classes_and_what_is_on_disk_are_written() -> None:
    findings = [_Finding(number, ("é", "b")) for number in range(200)]
    expected = json.dumps({"all": [asdict(each) for each in findings], "none": []}, ensure_ascii=False, indent=2)
    assert "".join(document_parts({"all": Spool(findings, form_of(_Finding)), "none": Spool()})) == expected


def test_half_a_character_is_escaped() -> None:
    assert json.loads("".join(document_parts(["\ud800", "é"])).encode()) == ["\ud800", "é"]
