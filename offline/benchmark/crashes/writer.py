"""Writes to a stack until it is gone, and notes each write before it is sent and once it is acknowledged."""

import hashlib
import io
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.correctness.material import Material
from offline.benchmark.correctness.paths import product_to_proto

WORKERS: Final = 3
_IDS: Final = 20
_USERS: Final = 2
_DIMENSION: Final = 2048
_TIMEOUT_S: Final = 10.0
_COLOURS: Final = ("Blue", "Navy Blue", "Red", "Maroon", "Yellow", "Multi")


@dataclass(frozen=True, slots=True)
class Kept:
    """A product as it must be.

    Attributes:
        product: its message, without what the server adds: hexadecimal.
        photograph: SHA-256 of its photograph; "" for none.
        embedding: SHA-256 of its embedding in float16 where it came with one; "" with a photograph.
    """

    product: str
    photograph: str
    embedding: str


State = dict[str, Any]
"""By "product ID" a `Kept` as a dictionary, by "user ID" dislikes by colour; what is absent is not there."""


def describe(product: types_pb2.Product) -> str:
    """Returns a message without what the server adds."""
    plain = types_pb2.Product()
    plain.CopyFrom(product)
    plain.ClearField("derived_type")
    plain.ClearField("photograph_absent")
    return plain.SerializeToString(deterministic=True).hex()


def write_until_lost(target: str, log: str, seed: int, state: State) -> None:
    """Writes from several threads, each its own products and users, until the stack is lost.

    Args:
        target: gRPC of the stack.
        log: the file for what is sent and acknowledged, a line of JSON each.
        seed: of all that is random.
        state: what the stack has.
    """
    with Path(log).open("a", buffering=1) as file, grpc.insecure_channel(target) as channel:
        lock = threading.Lock()

        def note(line: Mapping[str, Any]) -> None:
            with lock:
                file.write(json.dumps(line) + "\n")

        workers = [
            threading.Thread(target=_Worker(number, channel, Random(1000 * seed + number), state, note).run)
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


class _Worker:
    """One thread, with one write under way at a time."""

    def __init__(self, number: int, channel: grpc.Channel, dice: Random, state: State, note: Any) -> None:
        self._number = number
        self._stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        self._dice = dice
        self._note = note
        ids = [f"w{number}-{place}" for place in range(_IDS)]
        self._material = Material(ids, ids[:3])
        self._users = [f"u{number}-{place}" for place in range(_USERS)]
        self._state = state
        self._model_version = ""
        self._count = 0

    def run(self) -> None:
        """Writes until a call fails."""
        try:
            index = self._stub.GetIndex(search_pb2.GetIndexRequest(), timeout=_TIMEOUT_S)
            self._model_version = index.model_version
            while True:
                kind = self._dice.random()
                if kind < 0.5:
                    self._upsert()
                elif kind < 0.65:
                    self._update()
                elif kind < 0.8:
                    self._delete()
                else:
                    self._dislike()
        except grpc.RpcError as error:
            status: Any = error
            self._note({"worker": self._number, "event": "lost", "code": status.code().name, "text": status.details()})

    def _send(self, rpc: Any, request: Any, after: State) -> None:
        """Sends a write that makes some of the state this, None for what it removes."""
        self._count += 1
        name = {"worker": self._number, "count": self._count}
        self._note({**name, "event": "begun", "after": after})
        response = rpc(request, timeout=_TIMEOUT_S)
        for result in getattr(response, "results", ()):
            if result.status.code:
                self._note({**name, "event": "refused", "reason": result.status.reason})
        version = getattr(response, "index_version", 0)
        self._note({**name, "event": "acknowledged", "index_version": version})
        self._state.update(after)

    def _chosen(self, *, known: bool) -> list[str]:
        ids = [each for each in self._material.ids if not known or self._state.get(f"product {each}")]
        return self._dice.sample(ids, min(len(ids), self._dice.choice((1, 1, 2, 6))))

    def _upsert(self) -> None:
        request = search_pb2.UpsertProductsRequest()
        after: State = {}
        for product_id in self._chosen(known=False):
            product = product_to_proto(self._material.product(self._dice, product_id))
            row = request.rows.add(product=product)
            before = self._state.get(f"product {product_id}")
            how = self._dice.random()
            if how < 0.6 or before is None:
                row.image.content = content = _photograph(self._dice)
                photograph, embedding = hashlib.sha256(content).hexdigest(), ""
            elif how < 0.75:
                values = np.random.default_rng(self._dice.randrange(2**32)).normal(size=_DIMENSION)
                values /= np.linalg.norm(values)
                row.embedding.values.extend(values.tolist())
                row.embedding.model_version = self._model_version
                photograph, embedding = "", hashlib.sha256(_stored(row.embedding)).hexdigest()
            else:
                photograph, embedding = before["photograph"], before["embedding"]
            after[f"product {product_id}"] = asdict(Kept(describe(product), photograph, embedding))
        self._send(self._stub.UpsertProducts, request, after)

    def _update(self) -> None:
        request = search_pb2.UpdateProductsRequest(update_mask=FieldMask(paths=["price", "in_stock"]))
        after: State = {}
        for product_id in self._chosen(known=True):
            before = self._state[f"product {product_id}"]
            product = types_pb2.Product.FromString(bytes.fromhex(before["product"]))
            price = self._material.price(self._dice)
            product.price.CopyFrom(
                types_pb2.Price(currency_code=price.currency_code, units=price.units, nanos=price.nanos)
            )
            product.in_stock = self._dice.random() < 0.5
            request.updates.add(product=product)
            after[f"product {product_id}"] = {**before, "product": describe(product)}
        if after:
            self._send(self._stub.UpdateProducts, request, after)

    def _delete(self) -> None:
        ids = self._chosen(known=True)
        if ids:
            request = search_pb2.DeleteProductsRequest(product_ids=ids)
            self._send(self._stub.DeleteProducts, request, {f"product {each}": None for each in ids})

    def _dislike(self) -> None:
        user_id = self._dice.choice(self._users)
        before: Mapping[str, bool] = self._state.get(f"user {user_id}") or {}
        name, kind = f"user {user_id}", self._dice.random()
        if kind < 0.6:
            colours = {each: self._dice.random() < 0.5 for each in self._dice.sample(_COLOURS, 2)}
            disliked = [search_pb2.DislikedColour(colour=each, exact=exact) for each, exact in colours.items()]
            request: Any = search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=disliked)
            self._send(self._stub.AddDislikedColours, request, {name: {**before, **colours}})
        elif kind < 0.85:
            gone = self._dice.sample(_COLOURS, 2)
            request = search_pb2.RemoveDislikedColoursRequest(user_id=user_id, colours=gone)
            left = {each: exact for each, exact in before.items() if each not in gone}
            self._send(self._stub.RemoveDislikedColours, request, {name: left or None})
        else:
            self._send(self._stub.ForgetUser, search_pb2.ForgetUserRequest(user_id=user_id), {name: None})


def _photograph(dice: Random) -> bytes:
    """Returns one of many small photographs, so that some come twice."""
    number = dice.randrange(400)
    picture = Image.new("RGB", (30, 40), "white")
    picture.paste(tuple(Random(number).randrange(256) for _ in range(3)), (5, 5, 25, 10 + number % 25))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _stored(embedding: types_pb2.Embedding) -> bytes:
    """Returns the bytes of an embedding in float16, as the server keeps it."""
    sent = np.array(embedding.values, dtype=np.float64)
    return (sent / np.linalg.norm(sent)).astype(np.float32).astype("<f2").tobytes()
