"""A queue that serves its flows round robin, however many items each of them has."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_DEFICIT = 16


class _Flow(Generic[T]):
    """The waiting items of one flow, and the number of rounds for which it is skipped."""

    __slots__ = ("deficit", "items")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.deficit = 0


class DeficitRoundRobinQueue(Generic[T]):
    """First come, first served within a flow; round robin between flows. Not thread-safe.

    Operations take constant time, except `pop` past flows with a deficit and `remove` within a flow.
    A flow with a deficit is skipped for as many rounds, as long as other flows wait.
    """

    def __init__(self) -> None:
        self._flows: OrderedDict[str, _Flow[T]] = OrderedDict()
        self._by_length: dict[int, OrderedDict[str, None]] = {}
        """The names of the flows with that many items, in the order in which they got there."""
        self._longest = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, name: str, item: T) -> None:
        """Append an item to its flow; a new flow joins the end of the round."""
        flow = self._flows.setdefault(name, _Flow())
        flow.items.append(item)
        self._length += 1
        self._reindex(name, len(flow.items) - 1, len(flow.items))

    def pop(self) -> T | None:
        """Remove and return the next item, or None if the queue is empty."""
        while self._flows:
            name, flow = next(iter(self._flows.items()))
            self._flows.move_to_end(name)
            if flow.deficit == 0 or len(self._flows) == 1:
                item = flow.items.popleft()
                self._after_removal(name, flow)
                return item
            flow.deficit -= 1
        return None

    def charge(self, name: str, *, rounds: int) -> None:
        """Skip the flow for that many more rounds, at most 16 in all; no effect if nothing of it waits."""
        flow = self._flows.get(name)
        if flow is not None:
            flow.deficit = min(max(flow.deficit + rounds, 0), _MAX_DEFICIT)

    def remove(self, name: str, item: T) -> bool:
        """Remove an item from anywhere in its flow; return False if it is not there."""
        flow = self._flows.get(name)
        if flow is None or item not in flow.items:
            return False
        flow.items.remove(item)
        self._after_removal(name, flow)
        return True

    def is_over_share(self, name: str) -> bool:
        """Return whether the flow, with one more item, would have as many as the longest flow."""
        flow = self._flows.get(name)
        return (len(flow.items) if flow is not None else 0) + 1 >= self._longest

    def evict(self) -> T:
        """Remove and return the newest item of the longest flow; the queue must not be empty."""
        name = next(iter(self._by_length[self._longest]))
        flow = self._flows[name]
        item = flow.items.pop()
        self._after_removal(name, flow)
        return item

    def _after_removal(self, name: str, flow: _Flow[T]) -> None:
        self._length -= 1
        self._reindex(name, len(flow.items) + 1, len(flow.items))
        if not flow.items:
            del self._flows[name]

    def _reindex(self, name: str, before: int, after: int) -> None:
        if before:
            del self._by_length[before][name]
            if not self._by_length[before]:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, OrderedDict())[name] = None
        if after > self._longest or self._longest not in self._by_length:
            self._longest = after
