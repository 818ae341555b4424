"""SIGTERM and SIGINT as a wish that a stage fulfils when its work at hand is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals(stop: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event (`stop`, or a new one) that SIGTERM and SIGINT set while the context lasts.

    Signals reach the main thread only; in another one `stop` is set by who has it.
    """
    stop = stop or threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signums = (signal.SIGTERM, signal.SIGINT)
    before = {signum: signal.signal(signum, lambda *_: stop.set()) for signum in signums}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
