"""What SIGINT and SIGTERM do: a stage ends when its work at hand is done, a command at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C: what a shell reports for a command that SIGINT ended."""


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


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """SIGINT ends the command with INTERRUPTED while the context lasts, and does nothing after it.

    What goes on may take KeyboardInterrupt and end in its own way. Where SIGINT is ignored
    already, as in the background of a shell script, it stays so.

    Python isn't taken down in order then: what native libraries left undone may hang it.
    """
    interrupted = False

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        interrupt(signum, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    try:
        yield
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except RuntimeError as e:
        if not interrupted or "interrupted" not in str(e).lower():
            raise
        leave(INTERRUPTED)  # DuckDB makes this error of it
    finally:
        # Python, being taken down, would let it kill the process: work that is done is done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def killed_by_ctrl_c() -> Iterator[None]:
    """SIGINT ends the process where it stands, with INTERRUPTED, while the context lasts: for work
    that may be killed at any point and says nothing of what it had done.

    KeyboardInterrupt that comes up in a native library may be taken for an error of the work, or
    hang it. Where SIGINT is ignored it stays so.
    """

    def end(*_: object) -> None:
        if os.isatty(2):
            os.write(2, b"\x1b[?25h\n")  # the cursor, which progress hides
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave(code: int) -> NoReturn:
    """End the process at once, but for what it has said."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def interrupt(_signum: int, frame: FrameType | None) -> None:
    """A handler of SIGINT: raises KeyboardInterrupt, but ends the process if it is importing.

    An exception that passes through the import of a native module may abort the process with a
    core dump. Ending at once loses nothing: a command may be killed at any point.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
