"""A supervised stage ends when its supervisor has gone, however it went.

Without this a killed `shopstream up` would leave stages behind that hold the log and the port.
"""

import os
import signal
import threading

LOOK_S = 0.5


def end_with(supervisor_pid: int) -> None:
    """Send this process SIGTERM once its parent is no longer `supervisor_pid`; 0 is no supervisor.

    A stage treats that as any other wish to stop: it finishes what is at hand.
    """
    if supervisor_pid:
        threading.Thread(target=_watch, args=(supervisor_pid,), name="leash", daemon=True).start()


def _watch(supervisor_pid: int) -> None:
    pause = threading.Event()
    while os.getppid() == supervisor_pid:
        pause.wait(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
