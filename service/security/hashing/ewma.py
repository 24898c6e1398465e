"""A moving average."""

_WEIGHT = 1 / 8


class Ewma:
    """Exponentially weighted moving average: 0 before the first sample, which then counts in full."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, sample: float) -> None:
        """Add a sample."""
        weight = _WEIGHT if self.value else 1
        self.value += weight * (sample - self.value)
