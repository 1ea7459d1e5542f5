"""Messages as confused and hostile callers send them: any values in any field, and bytes changed afterwards."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fashion import v1
from offline.benchmark.hard_pictures import mutated

_FILES: Final = [
    import_module(each.name) for each in iter_modules(v1.__path__, "fashion.v1.") if each.name.endswith("_pb2")
]
# So deep are messages filled; below they stay empty.
_MAX_DEPTH: Final = 4
_MAX_REPEATED: Final = 4
_NUMBERS: Final = (0, 1, -1, 2, 10, 100, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
_REALS: Final = (0.0, 0.5, 1.0, -1.0, 2.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"))
_TEXTS: Final = ("", " ", "a", "\0", "%", "/", "..", "p\u0301", "𝕡", "x" * 300, "*", "'; --", "\u202e", "GENDER_MEN")


def methods() -> dict[str, type[Message]]:
    """Returns the request of each RPC of all services, by its path, such as "/fashion.v1.SearchService/GetIndex"."""
    return {
        f"/{service.full_name}/{method.name}": GetMessageClass(method.input_type)
        for file in _FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


class HostileMessages:
    """Makes requests, each another one; the same from the same seed."""

    def __init__(self, seed: int, words: Sequence[str], contents: Sequence[bytes]) -> None:
        """Takes what makes requests get further than the first check.

        Args:
            seed: of all that is random.
            words: ids, colours and labels that the catalogue has.
            contents: files of photographs.
        """
        self._random = np.random.default_rng(seed)
        self._words, self._contents = words, contents

    def request(self, kind: type[Message]) -> bytes:
        """Returns a request as bytes: two of three have some bytes changed, left out, repeated or cut off."""
        message = kind()
        self._fill(message, 0)
        content = message.SerializeToString()
        return content if not content or self._random.random() < 1 / 3 else mutated(content, self._random)

    def _fill(self, message: Message, depth: int) -> None:
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.5:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(getattr(message, field.name), field, depth)
            elif field.is_repeated:
                values = getattr(message, field.name)
                for _ in range(int(self._random.integers(1, _MAX_REPEATED + 1))):
                    if field.message_type is None:
                        values.append(self._value(field))
                    elif depth < _MAX_DEPTH:
                        self._fill(values.add(), depth + 1)
            elif field.message_type is None:
                setattr(message, field.name, self._value(field))
            elif depth < _MAX_DEPTH:
                child = getattr(message, field.name)
                child.SetInParent()
                self._fill(child, depth + 1)

    def _fill_map(self, values: Any, field: Any, depth: int) -> None:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        name = self._value(key)
        if value.message_type is None:
            values[name] = self._value(value)
        elif depth < _MAX_DEPTH:
            self._fill(values[name], depth + 1)

    def _value(self, field: Any) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                content = self._contents[int(self._random.integers(len(self._contents)))]
                return content if self._random.random() < 0.5 else mutated(content, self._random)
            case FieldDescriptor.CPPTYPE_STRING:
                texts = self._words if self._random.random() < 0.7 else _TEXTS
                return texts[int(self._random.integers(len(texts)))]
            case FieldDescriptor.CPPTYPE_BOOL:
                return bool(self._random.integers(2))
            case FieldDescriptor.CPPTYPE_ENUM:
                return int(self._random.integers(0, len(field.enum_type.values) + 2))
            case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
                return _REALS[int(self._random.integers(len(_REALS)))]
            case kind:
                number = _NUMBERS[int(self._random.integers(len(_NUMBERS)))]
                unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
                bits = 32 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
                low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
                return min(max(number, low), high)
