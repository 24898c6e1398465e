from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import TypeVar

from service.security.hashing.fair_queue import DeficitRoundRobinQueue

T = TypeVar("T")


def filled(flows: str) -> DeficitRoundRobinQueue[str]:
    """Return a queue with one item for each letter: the letter is the flow, items are numbered within it."""
    queue: DeficitRoundRobinQueue[str] = DeficitRoundRobinQueue()
    for index, flow in enumerate(flows):
        queue.push(flow, f"{flow}{flows[:index].count(flow)}")
    return queue


def drain(queue: DeficitRoundRobinQueue[T]) -> Iterator[T]:
    while (item := queue.pop()) is not None:
        yield item


def test_pop_from_one_flow_keeps_the_order() -> None:
    assert list(drain(filled("aaa"))) == ["a0", "a1", "a2"]


def test_pop_from_several_flows_is_round_robin() -> None:
    assert list(drain(filled("aaaabbc"))) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_pop_from_an_empty_queue_returns_none() -> None:
    assert DeficitRoundRobinQueue[str]().pop() is None


def test_push_to_a_new_flow_is_served_in_the_same_round() -> None:
    queue = filled("aaaaaaaa")
    queue.pop()
    queue.push("b", "b0")
    assert list(drain(queue))[:2] == ["a1", "b0"]


def test_charge_skips_the_flow_for_as_many_rounds() -> None:
    queue = filled("aaabbb")
    queue.charge("a", rounds=2)
    assert list(drain(queue)) == ["b0", "b1", "a0", "b2", "a1", "a2"]


def test_charge_beyond_the_maximum_skips_sixteen_rounds() -> None:
    queue = filled("a" + "b" * 40)
    queue.charge("a", rounds=10_000)
    assert list(drain(queue)).index("a0") == 16


def test_charge_negative_rounds_or_an_absent_flow_has_no_effect() -> None:
    queue = filled("abab")
    queue.charge("a", rounds=-5)
    queue.charge("absent", rounds=5)
    assert list(drain(queue)) == ["a0", "b0", "a1", "b1"]


def test_remove_a_waiting_item_returns_true_once() -> None:
    queue = filled("aab")
    assert queue.remove("a", "a0")
    assert not queue.remove("a", "a0")
    assert queue.remove("b", "b0")
    assert not queue.remove("b", "b0")
    assert len(queue) == 1
    assert list(drain(queue)) == ["a1"]


def test_evict_removes_the_newest_item_of_the_longest_flow() -> None:
    queue = filled("aaabb")
    assert queue.evict() == "a2"
    assert len(queue) == 4


def test_is_over_share_is_false_for_flows_at_least_two_items_shorter_than_the_longest() -> None:
    assert not filled("aaabb").is_over_share("c")
    assert not filled("aaab").is_over_share("b")
    assert filled("aaabb").is_over_share("a")
    assert filled("aaabb").is_over_share("b")
    assert filled("").is_over_share("a")


def test_evict_repeatedly_ends_in_equal_shares() -> None:
    queue = filled("a" * 10)
    while not queue.is_over_share("b"):
        queue.evict()
        queue.push("b", "b")
    assert list(drain(queue)).count("b") == 5


def test_evict_after_random_operations_finds_the_longest_flow() -> None:
    random = Random(7)
    queue, model = DeficitRoundRobinQueue[int](), dict[str, list[int]]()
    for number in range(3000):
        flow = random.choice("abcdef")
        lengths = {name: len(items) for name, items in model.items()}
        longest = max(lengths.values(), default=0)
        assert queue.is_over_share(flow) == (longest <= lengths.get(flow, 0) + 1)
        if longest > 3 and random.random() < 0.3:
            evicted = queue.evict()
            (owner,) = (name for name, items in model.items() if evicted in items)
            assert (lengths[owner], model[owner].pop()) == (longest, evicted)
        elif model.get(flow) and random.random() < 0.5:
            assert queue.remove(flow, model[flow].pop(0))
        else:
            queue.push(flow, number)
            model.setdefault(flow, []).append(number)
    assert sorted(drain(queue)) == sorted(chain(*model.values()))
