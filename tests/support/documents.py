"""The examples of the documents, for tests that run them."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def python_example(document: str, part: str) -> str:
    """Returns the one Python example of a document, such as "docs/api.md", that holds this text."""
    text = (_ROOT / document).read_text(encoding="utf-8")
    (example,) = (each for each in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if part in each)
    return str(example)
