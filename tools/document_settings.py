"""Writes docs/settings.md from the settings classes, or checks that it is up to date.

python tools/document_settings.py [--check]
"""

import argparse
import inspect
import re
import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from services.classifier.settings import ClassifierSettings
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.search.settings import SearchSettings
from services.serving.settings import (
    ClientSettings,
    RedisSettings,
    ServerSettings,
    TracingSettings,
    is_secret,
    variable_of,
)

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
HEADING = """# Settings

Every setting is an environment variable, read once at the start; a bad one ends the start with a line that names it.
Every secret may be a file instead, whose variable ends with `_FILE`: `GATEWAY_TOKEN_KEY_FILE=/run/secrets/token-key`.

Made by `python tools/document_settings.py` from the settings classes.
"""
SECTIONS = (
    ("Every server", ServerSettings),
    ("Traces", TracingSettings),
    ("Embedder", EmbedderSettings),
    ("Classifier", ClassifierSettings),
    ("Search", SearchSettings),
    ("Redis: search and classifier", RedisSettings),
    ("Gateway", GatewaySettings),
    ("Callers: services and the command line", ClientSettings),
)


def attributes(settings: type[BaseSettings]) -> dict[str, str]:
    """Returns the meaning of each field, from the docstring of the class."""
    _, _, listed = inspect.getdoc(settings).partition("Attributes:\n")
    entries = re.split(r"\n(?=    \w)", listed)
    return {name.strip(): " ".join(text.split()) for name, _, text in (entry.partition(":") for entry in entries)}


def shown(value: object) -> str:
    """Returns a default in Markdown; empty for none."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "" if value in (None, "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(settings: type[BaseSettings]) -> str:
    """Returns the Markdown table of a class."""
    meanings = attributes(settings)
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        if name in RedisSettings.model_fields and settings is not RedisSettings:
            continue
        variable = variable_of(settings, name)
        file = f", `{variable}_FILE`" if is_secret(field) and f"{name}_file" not in settings.model_fields else ""
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"| `{variable}`{file} | {shown(default)} | {meanings[name]} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page is out of date")
    check = parser.parse_args().check
    page = "\n".join([HEADING, *(f"## {title}\n\n{table(settings)}\n" for title, settings in SECTIONS)])
    if check and page != PAGE.read_text():
        sys.exit("docs/settings.md is out of date: run python tools/document_settings.py.")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
