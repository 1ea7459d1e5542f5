"""Draws the OpenAPI document as a page for people, without a script: it can be read where only HTML is."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLES_PATH: Final = "/docs.css"
_CODE: Final = re.compile(r"`([^`]+)`")
_METHODS: Final = ("get", "put", "post", "delete")


def reference_page(document: Mapping[str, Any]) -> str:
    """Returns the HTML of the reference.

    Args:
        document: the OpenAPI document.
    """
    info = document["info"]
    groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                tags = operations[method].get("tags") or ["others"]
                groups.setdefault(tags[0], []).append((method, path, operations[method]))
    schemas = document["components"]["schemas"]
    contents = "".join(
        f"<li>{escape(tag.capitalize())}<ul>"
        + "".join(
            f'<li><a href="#{_anchor(method, path)}"><b>{method.upper()}</b> {escape(path)}</a></li>'
            for method, path, _ in operations
        )
        + "</ul></li>"
        for tag, operations in groups.items()
    )
    operations_html = "".join(
        f"<h2>{escape(tag.capitalize())}</h2>" + "".join(_operation(*each) for each in operations)
        for tag, operations in groups.items()
    )
    schemas_html = "".join(_schema(name, schema) for name, schema in sorted(schemas.items()))
    title = f"{info['title']}: HTTP API"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{STYLES_PATH}"></head>'
        f'<body><nav aria-label="Contents"><ul>{contents}<li><a href="#schemas">Schemas</a></li></ul></nav>'
        f"<main><h1>{escape(title)}</h1>{_prose(info.get('description', ''))}"
        '<p>Programs read the same from <a href="/openapi.json">/openapi.json</a>.</p>'
        f'{operations_html}<h2 id="schemas">Schemas</h2>{schemas_html}</main></body></html>'
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(
        _row(
            each["name"],
            each["schema"],
            each.get("description", ""),
            required=each.get("required", False),
            of=each["in"],
        )
        for each in operation.get("parameters", ())
    )
    parts = [
        f'<section id="{_anchor(method, path)}"><h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3>',
        f"<p><strong>{_inline(operation.get('summary', ''))}.</strong></p>",
        _prose(operation.get("description", "")),
        f"<h4>Parameters</h4>{_table(parameters)}" if parameters else "",
    ]
    if body := operation.get("requestBody"):
        parts.append("<h4>Body</h4>")
        for media_type, content in body["content"].items():
            parts.append(f"<p><code>{escape(media_type)}</code> {_type(content['schema'])}</p>")
            if "properties" in content["schema"]:
                parts.append(_details("Fields", _fields(content["schema"])))
            if "example" in content:
                parts.append(f"<pre>{escape(json.dumps(content['example'], indent=2))}</pre>")
    answers = "".join(
        f"<tr><th><code>{escape(status)}</code></th><td>{_inline(answer.get('description', ''))} "
        + ", ".join(
            f"<code>{escape(media_type)}</code> {_type(content.get('schema', {}))}"
            for media_type, content in answer.get("content", {}).items()
        )
        + "</td></tr>"
        for status, answer in operation["responses"].items()
    )
    parts.append(f"<h4>Answers</h4>{_table(answers)}</section>")
    return "".join(parts)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    example = schema.get("examples", [None])[0]
    return (
        f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_prose(schema.get("description", ""))}'
        + (_fields(schema) if "properties" in schema else f"<p>{_type(schema)}</p>")
        + (_details("Example", f"<pre>{escape(json.dumps(example, indent=2))}</pre>") if example else "")
        + "</section>"
    )


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    return _table(
        "".join(
            _row(name, field, field.get("description", ""), required=name in required)
            for name, field in schema["properties"].items()
        )
    )


def _row(name: str, schema: Mapping[str, Any], description: str, *, required: bool, of: str = "") -> str:
    notes = [_type(schema), *([of] if of else []), *(["required"] if required else []), *_limits(schema)]
    text = f"{_inline(description)} <small>{' · '.join(notes)}</small>"
    return f"<tr><th><code>{escape(name)}</code></th><td>{text}</td></tr>"


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    for word, key in (
        ("default", "default"),
        ("at least", "minimum"),
        ("at most", "maximum"),
        ("characters at least", "minLength"),
        ("characters at most", "maxLength"),
        ("values at most", "maxItems"),
        ("pattern", "pattern"),
    ):
        if key in schema and schema[key] not in ([], ""):
            yield f"{word} <code>{escape(json.dumps(schema[key]).strip(chr(34)))}</code>"
    if examples := schema.get("examples"):
        yield f"such as <code>{escape(json.dumps(examples[0]).strip(chr(34)))}</code>"


def _type(schema: Mapping[str, Any]) -> str:
    """Returns a schema's type in words, with a link to a named one."""
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(_type(each) for each in schema[choice])
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(schema.get("format", kind) if kind == "string" else str(kind))


def _table(rows: str) -> str:
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def _anchor(method: str, path: str) -> str:
    return f"{method}{re.sub(r'[^a-z0-9]+', '-', path)}".strip("-")
