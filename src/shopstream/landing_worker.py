"""A second process that lands ranges for the lander while it lands others: `landing_worker FD`.

The two talk over a pair of sockets. Files are named by their range, so neither waits for the other;
the lander alone commits, in order. This process ends when the lander has.
"""

import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socketpair

import msgspec
from msgspec import Struct

from shopstream.domain.failures import Limits
from shopstream.domain.landing import Range
from shopstream.engine import open_engine
from shopstream.errors import ShopstreamError
from shopstream.flows.landing import Landing, land_range
from shopstream.settings import Settings

END_S = 5.0


class WorkerFailed(ShopstreamError):
    """The worker could not land a range, or has died."""


class _Task(Struct):
    """What the worker is told first."""

    data_dir: str
    limits: Limits


class _Answer(Struct):
    landing: Landing | None = None
    error: str = ""


_encode = msgspec.json.Encoder().encode
_decode_task = msgspec.json.Decoder(_Task).decode
_decode_range = msgspec.json.Decoder(Range).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class Worker:
    """The lander's end. `busy` is the range that the worker has at hand."""

    def __init__(self, settings: Settings, limits: Limits, lock_fd: int) -> None:
        ours, theirs = socketpair()
        fd = theirs.fileno()
        # It inherits the lander's lock: should the lander be killed, no other begins before this
        # one has put down the file that it is writing.
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "shopstream.landing_worker", str(fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=(fd, lock_fd),
            start_new_session=True,
        )
        theirs.close()
        self._talk = Connection(ours.detach())
        self.busy: Range | None = None
        self._send(_Task(str(settings.data_dir), limits))

    def begin(self, one: Range) -> None:
        """Have `one` landed. Raises WorkerFailed."""
        self._send(one)
        self.busy = one

    def done(self) -> bool:
        """Whether `end` would return at once."""
        return self._talk.poll()

    def end(self) -> Landing:
        """What became of the range at hand, waiting for it. Raises WorkerFailed."""
        self.busy = None
        try:
            answer = _decode_answer(self._talk.recv_bytes())
        except (EOFError, OSError) as e:
            raise WorkerFailed(f"the lander's second process has ended: {e!r}") from e
        if answer.landing is None:
            raise WorkerFailed(answer.error)
        return answer.landing

    def _send(self, message: object) -> None:
        try:
            self._talk.send_bytes(_encode(message))
        except OSError as e:
            raise WorkerFailed(f"the lander's second process has ended: {e!r}") from e

    def close(self) -> None:
        self._talk.close()
        try:
            self._process.wait(0 if self.busy is None else END_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()


def serve(talk: Connection) -> None:
    """Land the ranges that are asked for until the lander hangs up."""
    task = _decode_task(talk.recv_bytes())
    engine = open_engine(Settings(data_dir=Path(task.data_dir)), create=False)
    log, lake = engine.read_log(), engine.lake()
    while True:
        one = _decode_range(talk.recv_bytes())
        try:
            landing = land_range(one, log.rows(*one), lake, task.limits)
        except (ShopstreamError, OSError) as e:
            talk.send_bytes(_encode(_Answer(error=str(e))))
        else:
            talk.send_bytes(_encode(_Answer(landing)))


if __name__ == "__main__":
    with suppress(EOFError, ConnectionError):
        serve(Connection(int(sys.argv[1])))
