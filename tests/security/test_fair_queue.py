from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import TypeVar

from service.security.hashing.fair_queue import DeficitRoundRobinQueue

T = TypeVar("T")


def filled(flows: str) -> DeficitRoundRobinQueue[str]:
    """Return a queue with one item for each letter: the letter is the flow, items are numbered within it."""
    return grouped(*flows)


def grouped(*paths: str) -> DeficitRoundRobinQueue[str]:
    """Return a queue with one item for each path, of letters from the group to the member."""
    queue: DeficitRoundRobinQueue[str] = DeficitRoundRobinQueue()
    for index, path in enumerate(paths):
        queue.push(tuple(path), f"{path}{paths[:index].count(path)}")
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
    queue.push(("b",), "b0")
    assert list(drain(queue))[:2] == ["a1", "b0"]


def test_charge_skips_the_flow_for_as_many_rounds() -> None:
    queue = filled("aaabbb")
    queue.charge(("a",), rounds=2)
    assert list(drain(queue)) == ["b0", "b1", "a0", "b2", "a1", "a2"]


def test_charge_beyond_the_maximum_skips_sixteen_rounds() -> None:
    queue = filled("a" + "b" * 40)
    queue.charge(("a",), rounds=10_000)
    assert list(drain(queue)).index("a0") == 16


def test_charge_negative_rounds_or_an_absent_flow_has_no_effect() -> None:
    queue = filled("abab")
    queue.charge(("a",), rounds=-5)
    queue.charge(("absent",), rounds=5)
    assert list(drain(queue)) == ["a0", "b0", "a1", "b1"]


def test_remove_a_waiting_item_returns_true_once() -> None:
    queue = filled("aab")
    assert queue.remove(("a",), "a0")
    assert not queue.remove(("a",), "a0")
    assert queue.remove(("b",), "b0")
    assert not queue.remove(("b",), "b0")
    assert len(queue) == 1
    assert list(drain(queue)) == ["a1"]


def test_evict_removes_the_newest_item_of_the_longest_flow() -> None:
    queue = filled("aaabb")
    assert queue.evict() == "a2"
    assert len(queue) == 4


def test_displace_for_a_flow_at_least_two_items_shorter_than_the_longest_evicts_from_that() -> None:
    assert filled("aaabb").displace(("c",)) == "a2"
    assert filled("aaab").displace(("b",)) == "a2"
    assert filled("aaabb").displace(("a",)) is None
    assert filled("aaabb").displace(("b",)) is None
    assert filled("").displace(("a",)) is None


def test_displace_repeatedly_ends_in_equal_shares() -> None:
    queue = filled("a" * 10)
    while queue.displace(("b",)) is not None:
        queue.push(("b",), "b")
    assert list(drain(queue)).count("b") == 5


def test_displace_among_equals_evicts_the_newest_item() -> None:
    queue = grouped("xa", "xb", "xc")
    assert queue.displace(("y", "d")) == "xc0"
    assert list(drain(queue)) == ["xa0", "xb0"]


def test_pop_is_round_robin_between_groups_and_then_between_their_members() -> None:
    queue = grouped("xa", "xa", "xb", "xc", "yd", "yd", "yd")
    assert list(drain(queue)) == ["xa0", "yd0", "xb0", "yd1", "xc0", "yd2", "xa1"]


def test_charge_skips_the_group_and_within_it_the_member() -> None:
    queue = grouped("xa", "xb", "xb", "yc", "yc", "yc")
    queue.charge(("x", "a"), rounds=1)
    assert list(drain(queue)) == ["yc0", "xb0", "yc1", "xa0", "yc2", "xb1"]


def test_remove_from_a_group_finds_the_member() -> None:
    queue = grouped("xa", "xb")
    assert not queue.remove(("x", "a"), "xb0")
    assert queue.remove(("x", "b"), "xb0")
    assert (len(queue), list(drain(queue))) == (1, ["xa0"])


def test_displace_for_a_member_of_the_busiest_group_evicts_from_its_busiest_member() -> None:
    queue = grouped("xa", "xa", "xa", "yb")
    assert queue.displace(("x", "c")) == "xa2"
    assert queue.displace(("x", "a")) is None
    assert len(queue) == 3


def test_displace_for_another_group_evicts_although_no_member_has_two_items() -> None:
    """A provider hands out a /48 with 65 536 networks."""
    queue = DeficitRoundRobinQueue[int]()
    for number in range(4096):
        queue.push(("2001:db8::/48", f"2001:db8:0:{number:x}::/64"), number)
    for number in range(200):
        assert queue.displace((f"192.0.2.{number}/24", f"192.0.2.{number}/32")) == 4095 - number
        queue.push((f"192.0.2.{number}/24", f"192.0.2.{number}/32"), number)
    assert queue.displace(("2001:db8::/48", "2001:db8:0:ffff::/64")) is None
    assert len(queue) == 4096


def test_displace_after_random_operations_finds_the_longest_flow() -> None:
    random = Random(7)
    queue, model = DeficitRoundRobinQueue[int](), dict[str, list[int]]()
    for number in range(3000):
        flow = random.choice("abcdef")
        lengths = {name: len(items) for name, items in model.items()}
        longest = max(lengths.values(), default=0)
        if longest > 3 and random.random() < 0.3:
            evicted = queue.displace(("new",))
            assert evicted is not None
            (owner,) = (name for name, items in model.items() if evicted in items)
            assert (lengths[owner], model[owner].pop()) == (longest, evicted)
        elif model.get(flow) and random.random() < 0.5:
            assert queue.remove((flow,), model[flow].pop(0))
        else:
            if longest <= lengths.get(flow, 0) + 1:
                assert queue.displace((flow,)) is None
            queue.push((flow,), number)
            model.setdefault(flow, []).append(number)
    assert sorted(drain(queue)) == sorted(chain(*model.values()))
