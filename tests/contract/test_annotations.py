"""What the protos say to other tools: the gateway's paths, and which fields are required, as the comments have it."""

import contextlib
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.api
import grpc_tools
import pytest
from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from grpc_tools import protoc

import fashion.v1
from services.gateway.access.access import Access
from services.gateway.app import routed_app
from services.gateway.backend import Backend
from services.gateway.schema.openapi import document
from services.gateway.thumbnails import Thumbnails
from tests.support.gateways import gateway_settings

PROTOS = Path(__file__).parents[2] / "protos"
NAMES = [each.name for each in pkgutil.iter_modules(fashion.v1.__path__) if each.name.endswith("_pb2")]
FILES = [importlib.import_module(f"fashion.v1.{name}").DESCRIPTOR for name in NAMES]
METHODS = [method for file in FILES for service in file.services_by_name.values() for method in service.methods]
# Over gRPC alone, as their comments say: they take or return more than pages need.
GRPC_ALONE = {"BatchFindSimilar", "UpsertProducts", "DeleteProducts"}


def rules(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings] if rule.WhichOneof("pattern") else []


def bound() -> Iterator[tuple[MethodDescriptor, http_pb2.HttpRule, str, str]]:
    for method in METHODS:
        for rule in rules(method):
            verb = rule.WhichOneof("pattern")
            assert verb is not None
            yield method, rule, verb.upper(), getattr(rule, verb)


def shape(path: str) -> str:
    """Returns a path whose variables have no names."""
    return re.sub(r"\{\w+\}|\*", "{}", path)


@pytest.fixture
def openapi(tmp_path: Path) -> dict[str, Any]:
    settings = gateway_settings()
    with contextlib.closing(Thumbnails(None, None, 0)) as thumbnails:  # type: ignore[arg-type]
        access = Access.of(settings, "127.0.0.1")
        return document(routed_app(settings, Backend(1.0), access, thumbnails, tmp_path / "map.json", keys_needed=True))


def test_the_protos_name_exactly_the_paths_that_the_gateway_documents(openapi: dict[str, Any]) -> None:
    served = {
        (method.upper(), shape(path))
        for path, operations in openapi["paths"].items()
        if path.startswith("/v1/")
        for method in operations
    }
    named = [(verb, shape(path)) for _, _, verb, path in bound()]
    assert len(named) == len(set(named))
    assert set(named) == served


def test_every_rpc_of_search_has_a_path_or_is_named_here() -> None:
    without = {
        method.name for method in METHODS if method.containing_service.name == "SearchService" if not rules(method)
    }
    assert without == GRPC_ALONE
    assert not any(rules(method) for method in METHODS if method.containing_service.name != "SearchService")


def test_variables_and_bodies_are_fields_of_the_request() -> None:
    for method, rule, verb, path in bound():
        fields = method.input_type.fields_by_name
        for name in re.findall(r"\{(\w+)\}", path):
            assert fields[name].message_type is None and not fields[name].is_repeated, path
        assert rule.body in {"", "*", *fields}, path
        assert verb in {"POST", "PATCH"} or not rule.body, path


def behaviour(field: FieldDescriptor) -> list[str]:
    values = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return [field_behavior_pb2.FieldBehavior.Name(value) for value in values]


@pytest.fixture(scope="module")
def comments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The comment of each field and of each RPC by its full name."""
    file = tmp_path_factory.mktemp("descriptors") / "all.binpb"
    includes = [f"-I{PROTOS}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    sources = [str(PROTOS / each.name) for each in FILES]
    assert protoc.main(["protoc", *includes, "--include_source_info", f"--descriptor_set_out={file}", *sources]) == 0
    found = {}
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        for location in proto.source_code_info.location:
            match list(location.path):
                # Field 4 of a file is a message, field 2 of a message a field.
                case [4, message, 2, field]:
                    holder = proto.message_type[message]
                    name = f"{proto.package}.{holder.name}.{holder.field[field].name}"
                    found[name] = " ".join(location.leading_comments.split())
                # Field 6 of a file is a service, field 2 of a service an RPC.
                case [6, service, 2, rpc]:
                    offered = proto.service[service]
                    name = f"{proto.package}.{offered.name}.{offered.method[rpc].name}"
                    found[name] = " ".join(location.leading_comments.split())
    return found


def test_the_rpcs_of_search_without_a_path_say_why(comments: dict[str, str]) -> None:
    methods = [method for method in METHODS if method.containing_service.name == "SearchService"]
    saying = {method.name for method in methods if "Over gRPC alone" in comments[method.full_name]}
    assert saying == GRPC_ALONE


def test_fields_behave_as_their_comments_say(comments: dict[str, str]) -> None:
    fields = [field for file in FILES for message in file.message_types_by_name.values() for field in message.fields]
    assert fields and {field.full_name for field in fields} == comments.keys() - {each.full_name for each in METHODS}
    for field in fields:
        comment, expected = comments[field.full_name], []
        if re.search(r"\bRequired\b", comment) and field.containing_oneof is None:
            expected = ["REQUIRED"]
        if "Output only" in comment:
            expected = ["OUTPUT_ONLY"]
        assert behaviour(field) == expected, field.full_name


def test_every_id_and_user_that_a_request_is_about_is_required() -> None:
    for method in METHODS:
        for name in ("product_id", "user_id", "image"):
            field = method.input_type.fields_by_name.get(name)
            if field is not None and field.containing_oneof is None and method.name != "FindSimilar":
                assert behaviour(field) == ["REQUIRED"], field.full_name


@pytest.mark.parametrize("name", [each.name for each in (PROTOS / "google" / "api").iterdir()])
def test_copies_of_googles_protos_are_those_of_their_package(name: str) -> None:
    (installed,) = [Path(folder) / name for folder in google.api.__path__ if (Path(folder) / name).exists()]
    assert (PROTOS / "google" / "api" / name).read_bytes() == installed.read_bytes()


def test_java_and_go_have_packages_of_their_own() -> None:
    for file in FILES:
        options = file.GetOptions()
        assert (options.go_package, options.java_package) == ("fashion/v1;fashionv1", "fashion.v1")
        assert options.java_multiple_files
        assert options.java_outer_classname.removesuffix("Proto").lower() == Path(file.name).stem
