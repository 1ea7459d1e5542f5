"""Nothing in the product executes what a file holds: no pickle, no marshal, no eval, no archive that unpacks itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("services", "offline", "cli", "tools") for path in sorted((ROOT / folder).rglob("*.py"))]
# Modules that make objects or code of bytes; of xml only what refuses entities (defusedxml) may read.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "keras.models.load_model",
    "keras.saving.load_model",
    "tf.saved_model.load",
    "shutil.unpack_archive",
    "os.system",
    "yaml.load",
}
# Of any object: a zip or tar that unpacks to where its names lead.
METHODS = {"extractall"}
PARSERS = {"parse", "fromstring", "iterparse", "XMLParser", "XML"}


def _faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in MODULES:
                    yield module
                if module.startswith("xml."):
                    yield from (f"{module}.{each.name}" for each in names if each.name in PARSERS)
            case ast.Call(func=function, keywords=keywords):
                name = ast.unparse(function)
                if name in CALLS or name.rpartition(".")[2] in METHODS:
                    yield name
                if name in {"np.load", "numpy.load"} and not any(
                    each.arg == "allow_pickle" and ast.unparse(each.value) == "False" for each in keywords
                ):
                    yield f"{name} without allow_pickle=False"
                if any(each.arg == "shell" and ast.unparse(each.value) != "False" for each in keywords):
                    yield f"{name} with a shell"


def test_no_module_executes_what_a_file_holds() -> None:
    assert len(SOURCES) > 300
    faults = {path: [*_faults(ast.parse(path.read_text()))] for path in SOURCES}
    assert {str(path.relative_to(ROOT)): names for path, names in faults.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "zipfile.ZipFile(path).extractall(folder)",
        "from xml.etree.ElementTree import iterparse",
        "subprocess.run(line, shell=True)",
        "eval(text)",
    ],
)
def test_what_would_execute_a_file_is_found(code: str) -> None:
    assert [*_faults(ast.parse(code))]
