from service.security.queueing import FairQueue


def filled(order: str) -> FairQueue[str]:
    """A queue with one item for each letter: the letter is the caller, the item numbers its own."""
    queue: FairQueue[str] = FairQueue()
    for place, caller in enumerate(order):
        queue.push(caller, f"{caller}{order[:place].count(caller)}")
    return queue


def drained(queue: FairQueue[str]) -> list[str]:
    taken = []
    while (item := queue.pop()) is not None:
        taken.append(item)
    return taken


def test_pop_from_one_caller_keeps_the_order() -> None:
    assert drained(filled("aaa")) == ["a0", "a1", "a2"]


def test_pop_from_several_callers_takes_turns() -> None:
    assert drained(filled("aaaabbc")) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_pop_from_an_empty_queue_gives_none() -> None:
    assert FairQueue[str]().pop() is None


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


def test_heads_are_the_oldest_of_each_caller() -> None:
    assert sorted(filled("aabbc").heads()) == ["a0", "b0", "c0"]
