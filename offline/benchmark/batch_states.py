"""What an answer may show of products that are always written together: all of one state, and none that is gone."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_MAX_EXAMPLES: Final = 20


@dataclass(slots=True)
class State:
    """What one write made of all products of a batch.

    Attributes:
        price: of each of them, in whole units; None where no answer shows them.
        known: whether they are in the catalogue.
        sent_s: when the write was sent: a time of time.monotonic().
        acknowledged_s: when it was acknowledged; infinite before that.
    """

    price: int | None
    known: bool
    sent_s: float
    acknowledged_s: float = math.inf


@dataclass(slots=True, eq=False)
class Batch:
    """Products that are always written together.

    Attributes:
        number: the value of their own attribute "batch".
        size: how many there are.
        states: what each write made of them, in the order of the writes.
        held: whether a write is under way.
    """

    number: int
    size: int
    states: list[State] = field(default_factory=lambda: [State(None, False, -math.inf, -math.inf)])
    held: bool = False

    @property
    def product_ids(self) -> list[str]:
        """The ids of its products."""
        return [f"b{self.number}-{place}" for place in range(self.size)]

    def possible(self, sent_s: float, answered_s: float) -> list[State]:
        """Returns the states that a query may be answered from.

        Args:
            sent_s: when it was sent.
            answered_s: when its answer came.

        Returns:
            The last state that was acknowledged before the query, and those whose write was sent before the answer.
        """
        first = max(place for place, state in enumerate(self.states) if state.acknowledged_s <= sent_s)
        return [state for state in self.states[first:] if state.sent_s <= answered_s]


@dataclass(slots=True)
class Judge:
    """Holds answers to what was written.

    Attributes:
        wrong: how often each kind of fault was seen.
        examples: the first faults, a sentence each.
        answers: how many answers were judged.
        batches: how many times an answer showed a batch, or had to show one.
    """

    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    answers: int = 0
    batches: int = 0

    def fault(self, kind: str, what: str) -> None:
        """Takes note of a fault."""
        self.wrong[kind] += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(f"{kind}: {what}")

    def judge(
        self,
        batches: Mapping[int, Batch],
        shown: Mapping[str, int],
        sent_s: float,
        answered_s: float,
        whole: Batch | None = None,
    ) -> None:
        """Judges one answer.

        Args:
            batches: all that have ever been, by number.
            shown: the price of each product of the answer, in whole units, by id.
            sent_s: when the query was sent.
            answered_s: when its answer came.
            whole: the batch of which the answer has to show all products, if it shows any.
        """
        self.answers += 1
        prices: defaultdict[int, set[int]] = defaultdict(set)
        for product_id, price in shown.items():
            prices[int(product_id[1:].partition("-")[0])].add(price)
        self.batches += len(prices)
        for number, of_batch in prices.items():
            possible = batches[number].possible(sent_s, answered_s)
            expected = [state.price for state in possible]
            text = f"batch {number} at prices {sorted(of_batch)}, where {expected} are possible"
            if not any(state.known for state in possible):
                self.fault("a deleted product in an answer", text)
            elif len(of_batch) > 1:
                self.fault("two states of one batch in an answer", text)
            elif not of_batch <= {*expected}:
                self.fault("a state before the acknowledged one", text)
        if whole is None:
            return
        count = len(shown)
        if not count:
            self.batches += 1
            possible = whole.possible(sent_s, answered_s)
            if all(state.price is not None for state in possible):
                self.fault("a batch is missing", f"batch {whole.number}, written before the query")
        elif count != whole.size:
            self.fault("a part of a batch in an answer", f"{count} of {whole.size} products of batch {whole.number}")
