"""Other ways to the same results: the report's method, ONNX Runtime with hnswlib, Milvus Lite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.vision import prepare

INSTALL: Final = "pip install --require-hashes -r requirements-bench.lock"
_TOP_K: Final = 10
_SIDE: Final = 224
# The report searched about this many products of the predicted type.
REPORT_FILTERED: Final = 800
_SUB_CATEGORIES: Final = 45
_BLOCKS: Final = {2: 3, 3: 4, 4: 6, 5: 3}
_EPSILON: Final = 1.001e-5

Workload = Callable[[], object]


def report_method(contents: tuple[bytes, ...], embeddings: NDArray[np.float32]) -> dict[str, Workload]:
    """Returns the report's method: Keras ResNet50 at 224 x 224 with `predict`, cosines in scikit-learn.

    A photograph goes through the embedder and one classifier, each a ResNet50; the search is over the products of its
    type. For a product, the search is over the whole inventory. The weights are random, which takes the same time.

    Args:
        contents: files of photographs.
        embeddings: float32, shape (n, 2048), the inventory.
    """
    import io

    import keras
    from sklearn.metrics.pairwise import cosine_similarity

    embedder = keras.applications.ResNet50(include_top=False, weights=None, pooling="max")
    classifier = keras.applications.ResNet50(weights=None, classes=_SUB_CATEGORIES)
    filtered = embeddings[:REPORT_FILTERED]
    state = {"at": 0}

    def photograph() -> object:
        state["at"] = (state["at"] + 1) % len(contents)
        picture = keras.utils.load_img(io.BytesIO(contents[state["at"]]), target_size=(_SIDE, _SIDE))
        pixels = keras.applications.resnet50.preprocess_input(keras.utils.img_to_array(picture)[None])
        classifier.predict(pixels, verbose=0)
        query = embedder.predict(pixels, verbose=0)
        return np.argsort(-cosine_similarity(query, filtered)[0])[:_TOP_K]

    def product() -> object:
        state["at"] = (state["at"] + 1) % len(embeddings)
        return np.argsort(-cosine_similarity(embeddings[state["at"]][None], embeddings)[0])[:_TOP_K]

    return {"the report's method, photograph": photograph, "the report's method, product": product}


def onnx_method(
    bundle: Bundle, contents: tuple[bytes, ...], embeddings: NDArray[np.float32], threads: int
) -> dict[str, Workload]:
    """Returns ONNX Runtime with the shipped weights and hnswlib over the whole inventory, in one process.

    Raises:
        ImportError: a library is not installed.
    """
    import hnswlib
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(bundle), options, providers=["CPUExecutionProvider"])
    index = hnswlib.Index(space="ip", dim=embeddings.shape[1])
    index.init_index(max_elements=len(embeddings), ef_construction=100, M=16, random_seed=1)
    index.add_items(embeddings, num_threads=threads)
    index.set_ef(100)
    state = {"at": 0}

    def photograph() -> object:
        state["at"] = (state["at"] + 1) % len(contents)
        pixels = prepare(contents[state["at"]], bundle.frame)[None]
        (activations,) = session.run(None, {"pixels": pixels})
        return index.knn_query(activations / np.linalg.norm(activations), k=_TOP_K, num_threads=1)

    def product() -> object:
        state["at"] = (state["at"] + 1) % len(embeddings)
        return index.knn_query(embeddings[state["at"]], k=_TOP_K, num_threads=1)

    return {"ONNX Runtime + hnswlib, photograph": photograph, "ONNX Runtime + hnswlib, product": product}


def milvus_method(embeddings: NDArray[np.float32], folder: Path) -> dict[str, Workload]:
    """Returns Milvus Lite for the search step alone, over the whole inventory.

    Raises:
        ImportError: Milvus Lite is not installed.
    """
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "peer.db"))
    client.create_collection("products", dimension=embeddings.shape[1], metric_type="IP")
    for start in range(0, len(embeddings), 1000):
        part = embeddings[start : start + 1000]
        rows = [{"id": start + at, "vector": vector.tolist()} for at, vector in enumerate(part)]
        client.insert("products", rows)
    load_again(client)
    state = {"at": 0}

    def product() -> object:
        state["at"] = (state["at"] + 1) % len(embeddings)
        return client.search("products", data=[embeddings[state["at"]].tolist()], limit=_TOP_K)

    return {"Milvus Lite, product": product}


def load_again(client: Any) -> None:
    """Has Milvus Lite 3.2 search what it has indexed: until then it takes a hundred times as long."""
    client.flush("products")
    client.release_collection("products")
    client.load_collection("products")


def onnx_model(bundle: Bundle) -> bytes:
    """Converts a bundle's network to ONNX, from uint8 (n, height, width, 3) to float32 (n, 2048)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = bundle.encoder_weights()
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def convolution(x: str, name: str, stride: int = 1, pad: int = 0) -> str:
        gamma = weights[f"{name}_bn/gamma"] / np.sqrt(weights[f"{name}_bn/moving_variance"] + _EPSILON)
        shift = (weights[f"{name}_conv/bias"] - weights[f"{name}_bn/moving_mean"]) * gamma + weights[f"{name}_bn/beta"]
        kernel = (weights[f"{name}_conv/kernel"] * gamma).transpose(3, 2, 0, 1).astype(np.float32)
        inputs = [x, constant(f"{name}/w", kernel), constant(f"{name}/b", shift.astype(np.float32))]
        return node("Conv", inputs, strides=[stride, stride], pads=[pad] * 4)

    preprocessing = bundle.preprocessing
    x = node("Cast", ["pixels"], to=TensorProto.FLOAT)
    if preprocessing.channels == "BGR":
        x = node("Gather", [x, constant("bgr", np.array([2, 1, 0]))], axis=3)
    x = node("Mul", [x, constant("scale", np.array(preprocessing.scale, np.float32))])
    x = node("Add", [x, constant("offset", np.array(preprocessing.offset, np.float32))])
    x = node("Transpose", [x], perm=[0, 3, 1, 2])
    x = node("Relu", [convolution(x, "conv1", 2, 3)])
    x = node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in _BLOCKS.items():
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            stride = 2 if block == 1 and stage > min(_BLOCKS) else 1
            shortcut = convolution(x, f"{name}_0", stride) if block == 1 else x
            y = node("Relu", [convolution(x, f"{name}_1", stride)])
            y = node("Relu", [convolution(y, f"{name}_2", 1, 1)])
            x = node("Relu", [node("Add", [convolution(y, f"{name}_3"), shortcut])])
    x = node("GlobalMaxPool", [x])
    nodes.append(helper.make_node("Flatten", [x], ["activations"]))
    shape = [None, bundle.frame.height, bundle.frame.width, 3]
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("activations", TensorProto.FLOAT, [None, bundle.dimension])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
