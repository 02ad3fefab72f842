"""How long the next try waits: containers as a kubelet restarts them, pods of a Job as its controller makes them."""

# pkg/kubelet, 1.36: not at all the first time, then 10 s, twice that each time, and as at first after ten minutes.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S, FORGIVEN_AFTER_S = 10, 300, 600
# pkg/controller/job, 1.36: 10 s, then twice that each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 600


class Backoff:
    """How long until the next restart of one container."""

    def __init__(self) -> None:
        self._next = 0.0

    def next(self, ran_s: float = 0) -> float:
        """Seconds to wait after a life of `ran_s`."""
        if ran_s >= FORGIVEN_AFTER_S:
            self._next = 0
        now = self._next
        self._next = min(max(2 * now, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)
        return now


def job_pause_s(failed: int) -> float:
    """Seconds to wait after so many pods of a Job have failed; not at all before the first."""
    return min(FIRST_PAUSE_S * 2 ** (failed - 1), LONGEST_PAUSE_S) if failed else 0
