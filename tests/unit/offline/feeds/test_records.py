"""JSON Lines: a line ends where JSON says, not wherever Unicode knows an end."""

import io
import json

from offline.feeds.records import json_records


def test_a_line_separator_within_a_name_ends_no_line() -> None:
    names = ["Linen\u2028shirt", "Cotton\x85shirt"]
    lines = [json.dumps({"id": str(number), "name": name}, ensure_ascii=False) for number, name in enumerate(names)]
    entries = json_records(io.BytesIO("\r\n".join(lines).encode()))
    assert [dict(zip(entries.header, record.cells, strict=True))["name"] for record in entries] == names
