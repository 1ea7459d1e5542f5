"""A bound holds for all together and for each, and counts and tells what it refuses."""

import structlog

from services.concurrency.bounds import Bound


def test_a_bound_holds_for_each_and_for_all_and_is_told_once_in_a_while() -> None:
    bound = Bound("bytes", total=10, per_holder=6)
    with structlog.testing.capture_logs() as lines:
        assert bound.take("a", 6) and bound.take("b", 4)
        assert not bound.take("a") and not bound.take("b") and not bound.take("c")
        bound.give_back("a", 6)
        assert bound.take("c", 6) and not bound.take("b")
        bound.give_back("c", 6)
        assert not bound.take("b", 3) and bound.take("b", 2)
    assert bound.refused == 5
    (line,) = lines
    assert (line["event"], line["bound"], line["holder"], line["refused"]) == ("a bound is reached", "bytes", "a", 1)
