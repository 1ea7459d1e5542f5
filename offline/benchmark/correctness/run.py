"""Random queries beside random writes: every answer is held to the oracle at the very version that it names."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from numpy.typing import NDArray

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.correctness.judge import Judge, Query, Write
from offline.benchmark.correctness.material import NAMES, Material, few
from offline.benchmark.correctness.oracle import Oracle
from offline.benchmark.correctness.paths import (
    Asked,
    BatchPath,
    GrpcPath,
    HttpPath,
    Refused,
    Way,
    call,
    product_to_proto,
)
from offline.benchmark.processes import free_port, running
from services.contract.errors import DeadlineExceeded
from services.search.filters.colours import DislikedColour
from services.search.indexes.base import IndexedProduct

_DIMENSION: Final = 2048
_ROWS: Final = 500
_QUERIES_A_ROUND: Final = 120
_WRITES_A_ROUND: Final = 12
_READERS: Final = 3
_WRITERS: Final = 2
_CHANGED: Final = (search_pb2.UPSERT_OUTCOME_CREATED, search_pb2.UPSERT_OUTCOME_UPDATED)
# After these a write may be done, or not.
_NO_ANSWER: Final = ("DEADLINE_EXCEEDED", str(grpc.StatusCode.DEADLINE_EXCEEDED), str(grpc.StatusCode.UNAVAILABLE))
Say = Callable[[str], None]


class Correctness:
    """A run against one stack, which nobody else may write to."""

    def __init__(self, target: str, url: str, products: int, seed: int = 0) -> None:
        """Takes whom to ask.

        Args:
            target: gRPC of a stack with an empty catalogue, whose embeddings have 2,048 floats.
            url: its gateway, which needs no tokens.
            products: how many the catalogue has at first.
            seed: of all that is random.
        """
        self._url = url
        self._random = Random(seed)
        self._channel = grpc.insecure_channel(target, options=[("grpc.max_send_message_length", 64 << 20)])
        self._stub: Any = search_pb2_grpc.SearchServiceStub(self._channel)
        self.judge = Judge()
        self._lock = threading.Lock()
        self._acknowledged = self._asked = 0
        self._writes: list[Write] = []
        self._queries: list[Query] = []
        ids = [f"p{number}" for number in range(products)]
        # Families of three or so, and names that only a few share.
        names = [f"{name} {number}" for number in range(max(1, products // 60)) for name in NAMES]
        self._material = Material(ids, ids[: max(1, products // 8)], names=names)
        random = np.random.default_rng(seed)
        centres = random.normal(size=(max(2, products // 40), _DIMENSION))
        looks = np.repeat(centres, 6, axis=0) + 0.3 * random.normal(size=(6 * len(centres), _DIMENSION))
        looks /= np.linalg.norm(looks, axis=1, keepdims=True)
        self._looks: list[NDArray[np.float16]] = list(looks.astype(np.float16))
        self._model_version = ""
        # What is sent of each look, by its identity.
        self._messages: dict[int, types_pb2.Embedding] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def fill(self) -> None:
        """Writes all products."""
        self._model_version = call(self._stub.GetIndex, search_pb2.GetIndexRequest()).model_version
        ids = self._material.ids
        for start in range(0, len(ids), _ROWS):
            self._upsert([self._row(self._random, product_id) for product_id in ids[start : start + _ROWS]])
        self.judge.follow(*self._taken())

    def round(self, queries: int, writes: int = _WRITES_A_ROUND) -> None:
        """Asks and writes at the same time; then holds every answer to the products that there were."""
        self._ask(queries, writes)
        self.judge.follow(*self._taken())

    def rounds(self, queries: int, say: Callable[[int], object]) -> None:
        """Asks in rounds; while one is asked, the answers of the one before are held to the products.

        Args:
            queries: number of queries.
            say: takes the number of queries that were asked, after each round.
        """
        with ThreadPoolExecutor(1) as judging:
            judged: Future[None] | None = None
            for asked in range(0, queries, _QUERIES_A_ROUND):
                self._ask(min(_QUERIES_A_ROUND, queries - asked), _WRITES_A_ROUND)
                if judged is not None:
                    judged.result()
                    say(asked)
                judged = judging.submit(self.judge.follow, *self._taken())
            if judged is not None:
                judged.result()

    def _ask(self, queries: int, writes: int) -> None:
        seeds = [self._random.randrange(2**32) for _ in range(_READERS + _WRITERS)]
        with ThreadPoolExecutor(len(seeds)) as threads:
            tasks = [
                threads.submit(self._read, Random(seed), queries // _READERS + (number < queries % _READERS), number)
                for number, seed in enumerate(seeds[:_READERS])
            ]
            tasks += [threads.submit(self._write, Random(seed), writes // _WRITERS) for seed in seeds[_READERS:]]
            for task in tasks:
                task.result()

    def figures(self) -> Mapping[str, Any]:
        """Returns what was asked, and what was wrong."""
        judge = self.judge
        return {
            "queries": self._asked,
            "answers": judge.paths.total(),
            "refused": judge.refused,
            "paths": dict(judge.paths),
            "versions": self._acknowledged,
            "products": len(judge.oracle.rows),
            "shown": judge.shown,
            "full": judge.full,
            "wrong": dict(judge.wrong),
            "examples": judge.examples,
        }

    def _taken(self) -> tuple[list[Write], list[Query]]:
        """Returns the writes and the queries that were not judged yet; nobody may write or ask meanwhile."""
        taken = self._writes, self._queries
        self._writes, self._queries = [], []
        return taken

    def _row(self, dice: Random, product_id: str) -> IndexedProduct:
        further = tuple(dice.choices(self._looks, k=dice.choice((0, 0, 1, 3, 7))))
        return IndexedProduct(self._material.product(dice, product_id), dice.choice(self._looks), further)

    def _write(self, dice: Random, count: int) -> None:
        for _ in range(count):
            ids = few(dice, self._material.ids, most=dice.choice((1, 5, 30)), least=1)
            kind = dice.random()
            try:
                if kind < 0.2:
                    self._delete(ids)
                elif kind < 0.5:
                    self._update(dice, ids)
                else:
                    self._upsert([self._row(dice, each) for each in ids], content=lambda: dice.random() < 0.7)
            except Refused as refused:
                if refused.reason in _NO_ANSWER:
                    raise DeadlineExceeded(
                        "A write got no answer, so that no later search can be judged; run it with less beside it.",
                        reason="DEADLINE_EXCEEDED",
                    ) from None
                self.judge.report("write", str(refused))

    def _upsert(self, rows: Sequence[IndexedProduct], content: Callable[[], bool] = lambda: True) -> None:
        request = search_pb2.UpsertProductsRequest()
        written: list[IndexedProduct] = []
        for row in rows:
            message = request.rows.add(product=product_to_proto(row.product))
            whole = content()
            if whole:
                assert row.embedding is not None
                message.embedding.CopyFrom(self._message(row.embedding))
                message.further_embeddings.extend(self._message(each) for each in row.further if each is not None)
            written.append(row if whole else replace(row, embedding=None, further=()))
        response = call(self._stub.UpsertProducts, request)
        taken = [row for row, result in zip(written, response.results, strict=True) if result.outcome in _CHANGED]

        def apply(oracle: Oracle) -> None:
            # Without content, a product keeps what it looks like.
            oracle.apply(
                [
                    row if row.embedding is not None else replace(oracle.rows[row.product.id], product=row.product)
                    for row in taken
                ]
            )

        self._acknowledge(response.index_version, apply)

    def _message(self, embedding: NDArray[np.float16]) -> types_pb2.Embedding:
        message = self._messages.get(id(embedding))
        if message is None:
            values = embedding.astype(np.float64)
            message = self._messages[id(embedding)] = types_pb2.Embedding(
                values=(values / np.linalg.norm(values)).tolist(), model_version=self._model_version
            )
        return message

    def _update(self, dice: Random, ids: Sequence[str]) -> None:
        prices = {each: self._material.price(dice) for each in ids}
        stock = {each: dice.random() < 0.7 for each in ids}
        updates = [
            search_pb2.ProductUpdate(
                product=types_pb2.Product(
                    id=each,
                    price=types_pb2.Price(
                        currency_code=prices[each].currency_code, units=prices[each].units, nanos=prices[each].nanos
                    ),
                    in_stock=stock[each],
                )
            )
            for each in ids
        ]
        mask = FieldMask(paths=["price", "in_stock"])
        request = search_pb2.UpdateProductsRequest(updates=updates, update_mask=mask)
        response = call(self._stub.UpdateProducts, request)
        changed = [each for each, result in zip(ids, response.results, strict=True) if result.outcome in _CHANGED]
        self._acknowledge(
            response.index_version,
            lambda oracle: oracle.update(
                [replace(oracle.rows[each].product, price=prices[each], in_stock=stock[each]) for each in changed]
            ),
        )

    def _delete(self, ids: Sequence[str]) -> None:
        response = call(self._stub.DeleteProducts, search_pb2.DeleteProductsRequest(product_ids=ids))
        gone = [each for each, result in zip(ids, response.results, strict=True) if not result.status.code]
        self._acknowledge(response.index_version, lambda oracle: oracle.apply((), gone))

    def _acknowledge(self, index_version: int, apply: Callable[[Oracle], None]) -> None:
        with self._lock:
            self._writes.append(Write(index_version, apply))
            self._acknowledged = max(self._acknowledged, index_version)

    def _read(self, dice: Random, count: int, reader: int) -> None:
        paths: list[Way] = [
            GrpcPath(self._stub),
            HttpPath(self._url),
            BatchPath(self._stub, lambda: few(dice, self._material.ids, most=5)),
        ]
        # A user of this reader's own, whose dislikes nobody else changes.
        user_id, dislikes = f"user-{reader}", self._dislike(dice, f"user-{reader}")
        for number in range(count):
            if number % 10 == 9:
                dislikes = self._dislike(dice, user_id)
            path = dice.choice(paths)
            request = self._material.request(dice, self._looks, self._model_version, plain=path.plain)
            if dice.random() < 0.6:
                request = replace(request, user_id=user_id)
            sent_at = self._acknowledged
            answers: Sequence[Asked]
            try:
                answers = path.ask(request)
            except Refused as refused:
                answers = [(request, refused)]
            disliked = dislikes if request.user_id else ()
            with self._lock:
                self._asked += 1
                self._queries += [Query(each, disliked, path.way_name, sent_at, answer) for each, answer in answers]

    def _dislike(self, dice: Random, user_id: str) -> tuple[DislikedColour, ...]:
        dislikes = tuple({each.colour: each for each in self._material.dislikes(dice)}.values())
        call(self._stub.ForgetUser, search_pb2.ForgetUserRequest(user_id=user_id))
        if dislikes:
            colours = [search_pb2.DislikedColour(colour=each.colour, exact=each.exact) for each in dislikes]
            try:
                call(
                    self._stub.AddDislikedColours,
                    search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=colours),
                )
            except Refused as refused:
                # A colour that no product has any more, and that no table knows.
                if refused.reason != "COLOUR_UNKNOWN":
                    raise
                return ()
        return dislikes

    def compare_lists(self) -> None:
        """Holds the whole list of products to the oracle, at the end."""
        ids, token = list[str](), ""
        while True:
            page = self._stub.ListProducts(
                search_pb2.ListProductsRequest(page_size=_ROWS, page_token=token), timeout=60
            )
            for each in page.products:
                ids.append(each.id)
            token = page.next_page_token
            if not token:
                break
        if ids != sorted(self.judge.oracle.rows):
            self.judge.report("list", f"{len(ids)} products, not {len(self.judge.oracle.rows)}")


def correctness(queries: int, products: int, seed: int, say: Say, large: bool = False) -> Mapping[str, Any]:
    """Asks a stack of its own random queries beside random writes, over gRPC, HTTP and in batches.

    Args:
        queries: number of queries.
        products: number of products.
        seed: of all that is random.
        say: reports progress.
        large: whether the index works as it does with very many products.

    Returns:
        The figures; `wrong` counts wrong answers by kind, and is empty where there are none.
    """
    began = time.monotonic()
    with (
        TemporaryDirectory() as folder,
        _stack(Path(folder), large) as (target, url),
        Correctness(target, url, products, seed) as run,
    ):
        run.fill()

        def tell(asked: int) -> None:
            if asked % (25 * _QUERIES_A_ROUND) == 0:
                say(f"{asked:,} queries, {run.judge.wrong.total()} wrong, {time.monotonic() - began:.0f} s")

        run.rounds(queries, tell)
        run.compare_lists()
        return {**run.figures(), "large": large, "seed": seed, "seconds": round(time.monotonic() - began)}


@contextmanager
def _stack(folder: Path, large: bool) -> Iterator[tuple[str, str]]:
    """Runs a stack with the fake encoder and an empty catalogue in a folder; yields its gRPC target and its URL."""
    port = free_port()
    settings = {
        "EMBEDDER_RUNTIME": "fake",
        "SEARCH_DATA_DIR": str(folder / "data"),
        "GATEWAY_PORT": str(port),
        "GATEWAY_TOKEN_FREE": "true",
        # A busy machine makes no answer wrong.
        "GATEWAY_DEADLINE_S": "60",
        "SERVER_QUERY_DEADLINE_S": "60",
        "SEARCH_PREFERENCES_TIMEOUT_S": "20",
        # What is computed in the background takes a fifth of the time otherwise, and no answer is held to it.
        "SEARCH_CANDIDATES_PERIOD_S": "60",
        "SERVER_LOG_LEVEL": "warning",
        "SERVER_HOST": "127.0.0.1",
        **({"SEARCH_APPROXIMATE_FROM": "500"} if large else {}),
    }
    with running("offline.benchmark.correctness.stack", settings, folder / "stack.log") as server:
        yield server.target, f"http://127.0.0.1:{port}"
