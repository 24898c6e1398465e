from itertools import chain
from random import Random

from service.security.hashing.fair_queue import DeficitRoundRobinQueue


def filled(order: str) -> DeficitRoundRobinQueue[str]:
    """A queue with one item for each letter: the letter is the caller, the item numbers its own."""
    queue: DeficitRoundRobinQueue[str] = DeficitRoundRobinQueue()
    for place, caller in enumerate(order):
        queue.push(caller, f"{caller}{order[:place].count(caller)}")
    return queue


def drained(queue: DeficitRoundRobinQueue[str]) -> list[str]:
    taken = []
    while (item := queue.pop()) is not None:
        taken.append(item)
    return taken


def test_pop_from_one_caller_keeps_the_order() -> None:
    assert drained(filled("aaa")) == ["a0", "a1", "a2"]


def test_pop_from_several_callers_takes_turns() -> None:
    assert drained(filled("aaaabbc")) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_pop_from_an_empty_queue_gives_none() -> None:
    assert DeficitRoundRobinQueue[str]().pop() is None


def test_push_by_a_newcomer_waits_one_turn_each_and_no_longer() -> None:
    queue = filled("aaaaaaaa")
    queue.pop()
    queue.push("b", "b0")
    assert drained(queue)[:2] == ["a1", "b0"]


def test_charge_a_caller_passes_it_over_while_others_wait() -> None:
    queue = filled("aaabbb")
    queue.charge("a", turns=2)
    assert drained(queue) == ["b0", "b1", "a0", "b2", "a1", "a2"]


def test_charge_more_than_the_bound_owes_the_bound() -> None:
    queue = filled("a" + "b" * 40)
    queue.charge("a", turns=10_000)
    assert drained(queue).index("a0") == 16


def test_charge_less_than_nothing_gives_no_credit() -> None:
    queue = filled("abab")
    queue.charge("a", turns=-5)
    queue.charge("nobody", turns=5)
    assert drained(queue) == ["a0", "b0", "a1", "b1"]


def test_remove_a_waiting_item_takes_it_out_once() -> None:
    queue = filled("aab")
    assert queue.remove("a", "a0")
    assert not queue.remove("a", "a0")
    assert queue.remove("b", "b0")
    assert not queue.remove("b", "b0")
    assert len(queue) == 1
    assert drained(queue) == ["a1"]


def test_evict_takes_the_newest_of_the_longest_line() -> None:
    queue = filled("aaabb")
    assert queue.evict() == "a2"
    assert len(queue) == 4


def test_give_way_is_for_whoever_has_fewer_waiting() -> None:
    assert filled("aaabb").gives_way_to("c")
    assert filled("aaab").gives_way_to("b")
    assert not filled("aaabb").gives_way_to("a")
    assert not filled("aaabb").gives_way_to("b")
    assert not filled("").gives_way_to("a")


def test_evict_again_and_again_ends_in_equal_shares() -> None:
    queue = filled("a" * 10)
    while queue.gives_way_to("b"):
        queue.evict()
        queue.push("b", "b")
    assert drained(queue).count("b") == 5


def test_give_way_and_evict_after_any_changes_know_the_longest_line() -> None:
    chance = Random(7)
    queue, waiting = DeficitRoundRobinQueue[int](), dict[str, list[int]]()
    for number in range(3000):
        caller = chance.choice("abcdef")
        lengths = {name: len(items) for name, items in waiting.items()}
        longest = max(lengths.values(), default=0)
        assert queue.gives_way_to(caller) == (longest > lengths.get(caller, 0) + 1)
        if longest > 3 and chance.random() < 0.3:
            evicted = queue.evict()
            (owner,) = (name for name, items in waiting.items() if evicted in items)
            assert (lengths[owner], waiting[owner].pop()) == (longest, evicted)
        elif waiting.get(caller) and chance.random() < 0.5:
            assert queue.remove(caller, waiting[caller].pop(0))
        else:
            queue.push(caller, number)
            waiting.setdefault(caller, []).append(number)
    assert sorted(drained_numbers(queue)) == sorted(chain(*waiting.values()))


def drained_numbers(queue: DeficitRoundRobinQueue[int]) -> list[int]:
    taken = []
    while (item := queue.pop()) is not None:
        taken.append(item)
    return taken
