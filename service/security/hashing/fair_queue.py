"""A queue in which callers take turns, however much each of them puts into it."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_TURNS_OWED = 16


class _Line(Generic[T]):
    """What one caller has waiting, and how many of its turns it has used up in advance."""

    __slots__ = ("items", "turns_owed")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.turns_owed = 0


class DeficitRoundRobinQueue(Generic[T]):
    """First come, first served within a caller; round-robin between callers. Not locked.

    However many callers wait, every question and change takes the same time, but for `pop` past those who owe
    turns and `remove` from the middle of a line.

    A caller whose work took longer than usual is charged for it and passed over for as many turns, as long as
    others wait.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line[T]] = OrderedDict()
        self._by_length: dict[int, OrderedDict[str, None]] = {}
        """The callers with so many items waiting, longest in this state first."""
        self._longest = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, caller: str, item: T) -> None:
        """Put an item at the end of its caller's line; a caller that is new goes to the end of the round."""
        line = self._lines.setdefault(caller, _Line())
        line.items.append(item)
        self._length += 1
        self._regroup(caller, len(line.items) - 1, len(line.items))

    def pop(self) -> T | None:
        """Take the next item of the caller whose turn it is, or None when nothing waits."""
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            self._lines.move_to_end(caller)
            if line.turns_owed == 0 or len(self._lines) == 1:
                item = line.items.popleft()
                self._shrunk(caller, line)
                return item
            line.turns_owed -= 1
        return None

    def charge(self, caller: str, *, turns: int) -> None:
        """Pass the caller over for that many more turns, if it has anything waiting."""
        line = self._lines.get(caller)
        if line is not None:
            line.turns_owed = min(max(line.turns_owed + turns, 0), _MAX_TURNS_OWED)

    def remove(self, caller: str, item: T) -> bool:
        """Take an item out, wherever it stands; False when it does not wait any more."""
        line = self._lines.get(caller)
        if line is None or item not in line.items:
            return False
        line.items.remove(item)
        self._shrunk(caller, line)
        return True

    def gives_way_to(self, caller: str) -> bool:
        """Tell whether somebody would still have as many waiting as `caller`, after one of each moved."""
        return self._longest > self._waiting(caller) + 1

    def evict(self) -> T:
        """Take out the newest item of whoever has most waiting; something has to wait."""
        longest = next(iter(self._by_length[self._longest]))
        line = self._lines[longest]
        item = line.items.pop()
        self._shrunk(longest, line)
        return item

    def _waiting(self, caller: str) -> int:
        line = self._lines.get(caller)
        return 0 if line is None else len(line.items)

    def _shrunk(self, caller: str, line: _Line[T]) -> None:
        self._length -= 1
        self._regroup(caller, len(line.items) + 1, len(line.items))
        if not line.items:
            del self._lines[caller]

    def _regroup(self, caller: str, before: int, after: int) -> None:
        """Note that one item more, or less, waits."""
        if before:
            del self._by_length[before][caller]
            if not self._by_length[before]:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, OrderedDict())[caller] = None
        if after > self._longest or self._longest not in self._by_length:
            self._longest = after
