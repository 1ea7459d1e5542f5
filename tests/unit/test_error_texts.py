"""Every error that a caller can see: its text is a full sentence, and docs/errors.md and the protos know its reason."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.contract.attributes import ATTRIBUTES
from services.contract.errors import FashionError
from services.gateway.schema.problems import KINDS
from services.serving.status import CODES

ROOT = Path(__file__).parents[2]
MAX_WORDS = 25
MAX_SENTENCES = 2

# Stands for what only a run can tell.
BLANK = "…"
# A capital, a quoted value, an option, a field as the caller wrote it, or a blank that no colon follows.
OPENING = re.compile(r"""[A-Z]|["']|--\w|[a-z]+[_.][\w.…]+ |…(?!:)""")
REQUIRED = [each.name.upper() for each in ATTRIBUTES if each.required]
CATEGORIES = {category.__name__: category for category in (FashionError, *CODES, *KINDS)}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.ClassDef | ast.Module
Bindings = Mapping[str, list[str]]


@dataclass(frozen=True, order=True)
class Raised:
    """An error as a line of the code makes it; blanks stand for what only a run can tell."""

    where: str
    category: str
    reason: str
    text: str


def _texts(node: ast.expr, bindings: Bindings) -> list[str]:
    """Spells out all that an expression may say."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            found = [""]
            for part in parts:
                inner = part.value if isinstance(part, ast.FormattedValue) else part
                found = [before + after for before in found for after in _texts(inner, bindings)]
            return found
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [before + after for before in _texts(left, bindings) for after in _texts(right, bindings)]
        case ast.IfExp(body=body, orelse=other):
            return _texts(body, bindings) + _texts(other, bindings)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bindings.get(name, [BLANK])
        case _:
            return [BLANK]


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """Yields what a scope holds, but for the scopes within it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, Scope):
            yield child
            yield from _within(child)


def _callee(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _reason(call: ast.Call) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == "reason"), None)


def _assigned(scope: Scope, bindings: Bindings) -> Bindings:
    """Returns what the variables of a scope may hold."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in _within(scope):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] += _texts(node.value, bindings)
    return found


class Module:
    """A module of the product, as far as its errors go."""

    def __init__(self, path: Path) -> None:
        self.name = str(path.relative_to(ROOT))
        self._scopes = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, Scope)
        ]
        self._calls = [(scope, node) for scope in self._scopes for node in _within(scope) if isinstance(node, ast.Call)]

    def constants(self, known: Bindings) -> Iterator[tuple[str, str]]:
        """Yields strings by name: constants of modules and classes, and what is passed on as some `…_reason`."""
        for scope in self._scopes:
            for node in _within(scope):
                if isinstance(node, ast.keyword) and (node.arg or "").endswith("_reason"):
                    yield from ((node.arg or "", text) for text in _texts(node.value, known))
                elif isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(scope, Function) and node.value:
                    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                    yield from ((ast.unparse(target), text) for text in _texts(node.value, known))

    def errors(self, constants: Bindings) -> Iterator[Raised]:
        """Yields the errors that the module makes; those that a function makes of its arguments once for each call."""
        for scope, call in self._calls:
            category, reason = _callee(call), _reason(call)
            if reason is None or not call.args:
                continue
            if category == "__init__" and (kind := self._kind(scope)) is not None:
                for other, user in self._calls:
                    if _callee(user) == kind.name:
                        inside = {**constants, **_assigned(other, constants)}
                        yield from self._spelt(user, ast.unparse(kind.bases[0]), user.args[0], reason, inside)
            elif category in CATEGORIES:
                message, inside = call.args[0], {**constants, **_assigned(scope, constants)}
                for line, bindings in self._bindings(scope, call, inside):
                    yield from self._spelt(line, category, message, reason, bindings)

    def _bindings(self, scope: Scope, call: ast.Call, inside: Bindings) -> Iterator[tuple[ast.Call, Bindings]]:
        """Yields what the names in a call stand for: with each call of the function around it, where that matters."""
        parameters = [each.arg for each in scope.args.args] if isinstance(scope, Function) else []
        named = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
        users = [
            (other, user)
            for other, user in self._calls
            if other is not scope and _callee(user) == getattr(scope, "name", "")
        ]
        if not named & set(parameters) or not users:
            yield call, inside
            return
        for other, user in users:
            outside = {**inside, **_assigned(other, inside)}
            names = parameters[1:] if parameters[0] in {"self", "cls"} else parameters
            given = {name: _texts(value, outside) for name, value in zip(names, user.args, strict=False)}
            given |= {each.arg: _texts(each.value, outside) for each in user.keywords if each.arg}
            yield user, {**inside, **given}

    def _kind(self, scope: Scope) -> ast.ClassDef | None:
        """Returns the category of its own that a constructor makes."""
        kinds = (each for each in self._scopes if isinstance(each, ast.ClassDef) and scope in each.body)
        return next((each for each in kinds if each.bases and ast.unparse(each.bases[0]) in CATEGORIES), None)

    def _spelt(
        self, line: ast.Call, category: str, message: ast.expr, reason: ast.expr, bindings: Bindings
    ) -> Iterator[Raised]:
        for each in _texts(reason, bindings):
            for text in _texts(message, bindings):
                yield Raised(f"{self.name}:{line.lineno}", category, each, text)


@cache
def _errors() -> tuple[Raised, ...]:
    modules = [Module(path) for root in ("services", "offline", "cli") for path in sorted((ROOT / root).rglob("*.py"))]
    constants: dict[str, list[str]] = {}
    # Twice: a constant may hold another.
    for _ in range(2):
        found: dict[str, list[str]] = defaultdict(list)
        for module in modules:
            for name, text in module.constants(constants):
                if BLANK not in text:
                    found[name].append(text)
        constants = dict(found)
    return tuple(sorted({error for module in modules for error in module.errors(constants)}))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)


def _complaint(text: str) -> str | None:
    if not OPENING.match(text):
        return "it does not begin like a sentence"
    # A text that is quoted ends as it ends.
    if not text.endswith((".", f": {BLANK}")):
        return "it does not end in a full stop"
    sentences = _sentences(text)
    if len(sentences) > MAX_SENTENCES:
        return f"it has {len(sentences)} sentences"
    longest = max(len(sentence.split()) for sentence in sentences)
    return None if longest <= MAX_WORDS else f"a sentence of it has {longest} words"


def test_error_texts_are_full_sentences() -> None:
    spelt = [error for error in _errors() if error.text != BLANK]
    assert len(spelt) > 150
    complaints = [f"{each.where}: {why}: {each.text}" for each in spelt if (why := _complaint(each.text)) is not None]
    assert not complaints, "\n".join(complaints)


def _tables() -> dict[str, dict[str, str]]:
    """Returns the sections of docs/errors.md: reason -> the cell beside it."""
    sections = re.split(r"^## (.+)$", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    row = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
    return {title: dict(row.findall(text)) for title, text in zip(sections[1::2], sections[2::2], strict=True)}


def _reasons() -> dict[str, set[str]]:
    """Returns the reasons of the code, each with the names of its categories."""
    found: dict[str, set[str]] = defaultdict(set)
    for error in _errors():
        if error.reason != BLANK:
            # A blank in a reason is the name of a required attribute.
            for name in REQUIRED if BLANK in error.reason else ("",):
                found[error.reason.replace(BLANK, name)].add(error.category)
    return found


def test_the_document_lists_every_reason_once_and_no_other() -> None:
    listed = [reason for table in _tables().values() for reason in table]
    assert sorted(listed) == sorted(_reasons())
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", reason) for reason in listed)


def test_the_document_gives_every_reason_its_status() -> None:
    any_call, some_calls, http, _ = _tables().values()
    reasons = _reasons()
    for reason, status in (any_call | some_calls).items():
        codes = {CODES[CATEGORIES[each]].name for each in reasons[reason] if CATEGORIES[each] in CODES}
        assert codes <= {status}, reason
    for reason, status in http.items():
        assert {str(KINDS[CATEGORIES[each]].status) for each in reasons[reason] if CATEGORIES[each] in KINDS} <= {
            status
        }, reason


def test_the_protos_name_the_reasons_that_calls_are_refused_with() -> None:
    any_call, some_calls, *_ = _tables().values()
    comments = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "protos").rglob("*.proto"))
    named = set(re.findall(r"\b[A-Z_]+\b", comments))
    # gRPC itself refuses what is too large.
    assert {*any_call, *some_calls} - {"MESSAGE_TOO_LARGE"} <= named
    listed = "\n".join(re.findall(r"Possible errors:.*?rpc ", comments, re.DOTALL))
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", listed)) <= {
        *any_call,
        *some_calls,
        *(code.name for code in CODES.values()),
    }
