"""What the collector counts as it goes: plain integers, turned into metrics only when asked."""

from bisect import bisect_left
from collections import Counter

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts:
    """Since the start of this process; changed on the event loop's thread only."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.responses: Counter[int] = Counter()
        self.durations = [0] * (len(DURATION_BUCKETS_S) + 1)
        self.duration_sum_s = 0.0

    def answered(self, status: int, took_s: float) -> None:
        self.responses[status] += 1
        self.durations[bisect_left(DURATION_BUCKETS_S, took_s)] += 1
        self.duration_sum_s += took_s
