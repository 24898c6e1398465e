"""A queue that serves its flows round robin, however many items each of them has."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_DEFICIT = 16


class _Fifo(Generic[T]):
    """First come, first served. Here a path has no names left."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, _path: tuple[str, ...], item: T) -> None:
        self._items.append(item)

    def pop(self) -> T:
        return self._items.popleft()

    def charge(self, _path: tuple[str, ...], *, rounds: int) -> None:
        """Do nothing: there is nobody to be fair to."""

    def remove(self, _path: tuple[str, ...], item: T) -> bool:
        if item not in self._items:
            return False
        self._items.remove(item)
        return True

    def displace(self, _path: tuple[str, ...]) -> None:
        """Return None: a flow does not give way to itself."""

    def evict(self) -> T:
        return self._items.pop()


class _Flow(Generic[T]):
    """The waiting items of one flow, and the number of rounds for which it is skipped."""

    __slots__ = ("deficit", "items")

    def __init__(self, items: "_Fifo[T] | DeficitRoundRobinQueue[T]") -> None:
        self.items = items
        self.deficit = 0


class DeficitRoundRobinQueue(Generic[T]):
    """First come, first served within a flow; round robin between flows. Not thread-safe.

    A path names a flow, from the group to its members: groups are served round robin, and so are the members
    within each. Operations take constant time, except `pop` past flows with a deficit and `remove` within a
    flow. A flow with a deficit is skipped for as many rounds, as long as other flows wait.
    """

    def __init__(self) -> None:
        self._flows: OrderedDict[str, _Flow[T]] = OrderedDict()
        self._by_length: dict[int, OrderedDict[str, None]] = {}
        """The names of the flows with that many items, in the order in which they got there."""
        self._longest = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, path: tuple[str, ...], item: T) -> None:
        """Append an item to its flow; a new flow joins the end of the round."""
        name, *members = path
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = _Flow(DeficitRoundRobinQueue() if members else _Fifo())
        flow.items.push(tuple(members), item)
        self._length += 1
        self._reindex(name, len(flow.items) - 1, len(flow.items))

    def pop(self) -> T | None:
        """Remove and return the next item, or None if the queue is empty."""
        while self._flows:
            name, flow = next(iter(self._flows.items()))
            self._flows.move_to_end(name)
            if flow.deficit == 0 or len(self._flows) == 1:
                item = flow.items.pop()
                self._after_removal(name, flow)
                return item
            flow.deficit -= 1
        return None

    def charge(self, path: tuple[str, ...], *, rounds: int) -> None:
        """Skip the flow for that many more rounds, at most 16 in all; no effect if nothing of it waits."""
        name, *members = path
        flow = self._flows.get(name)
        if flow is not None:
            flow.deficit = min(max(flow.deficit + rounds, 0), _MAX_DEFICIT)
            flow.items.charge(tuple(members), rounds=rounds)

    def remove(self, path: tuple[str, ...], item: T) -> bool:
        """Remove an item from anywhere in its flow; return False if it is not there."""
        name, *members = path
        flow = self._flows.get(name)
        if flow is None or not flow.items.remove(tuple(members), item):
            return False
        self._after_removal(name, flow)
        return True

    def displace(self, path: tuple[str, ...]) -> T | None:
        """Remove and return an item that gives way to a new one of the flow; None if the flow has its share.

        It is the newest of the busiest group. A group that is as busy as any makes room within itself, for a
        member that is less busy than another.
        """
        name, *members = path
        flow = self._flows.get(name)
        if (len(flow.items) if flow is not None else 0) + 1 < self._longest:
            return self.evict()
        item = flow.items.displace(tuple(members)) if flow is not None else None
        if flow is not None and item is not None:
            self._after_removal(name, flow)
        return item

    def evict(self) -> T:
        """Remove and return the newest item of the longest flow; the queue must not be empty."""
        name = next(reversed(self._by_length[self._longest]))
        flow = self._flows[name]
        item = flow.items.evict()
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
