"""Several calls under way at once, none overtaking an earlier one with which it shares a key."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import BoundedSemaphore, Lock

WORKERS = 8
WAITING_MAX = 16
"""Calls under way or waiting for one: bounds what is held in memory."""


class Pipeline:
    """Runs calls in threads, in their order wherever they share a key. After one has failed no
    other begins.
    """

    def __init__(self, workers: int = WORKERS, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sending")
        self._slots = BoundedSemaphore(waiting_max)
        self._lock = Lock()
        self._last: dict[str, Future[None]] = {}
        self._error: Exception | None = None
        self.failed = 0
        """Events of calls that failed, or didn't begin because another had."""

    def submit(self, keys: Iterable[str], events: int, call: Callable[[], None]) -> None:
        """Have `call` made, after those before it that have one of `keys`. Waits while too many
        are under way. Raises what an earlier call raised.
        """
        self._slots.acquire()
        if self._error is not None:
            self._slots.release()
            self.failed += events
            raise self._error
        keys = tuple(keys)
        with self._lock:
            before = {self._last[key] for key in keys if key in self._last}
            # Those before began earlier in the same pool, so that waiting for them always ends.
            future = self._pool.submit(self._run, before, events, call)
            self._last.update(dict.fromkeys(keys, future))
        future.add_done_callback(lambda done: self._forget(done, keys))

    def finish(self) -> Exception | None:
        """Return when all calls have ended; what the first that failed raised, else None."""
        self._pool.shutdown(wait=True)
        return self._error

    def _run(self, before: set[Future[None]], events: int, call: Callable[[], None]) -> None:
        wait(before)
        error = self._error
        if error is None:
            try:
                call()
            except Exception as e:  # noqa: BLE001  # handed to the thread that submits and finishes
                error = e
        if error is not None:
            with self._lock:
                self._error = self._error or error
                self.failed += events

    def _forget(self, done: Future[None], keys: tuple[str, ...]) -> None:
        with self._lock:
            for key in keys:
                if self._last.get(key) is done:
                    del self._last[key]
        self._slots.release()
