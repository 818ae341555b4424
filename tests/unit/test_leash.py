"""A stage doesn't outlive its supervisor."""

import os
import subprocess
import sys
import time

STAGE = """
import os, sys, time
from shopstream.leash import end_with
end_with(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""

SUPERVISOR = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {STAGE!r}])
time.sleep(60)
"""


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stage_ends_when_its_supervisor_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout
        stage = int(supervisor.stdout.readline())
        assert exists(stage)
        supervisor.kill()
        gone_by = time.monotonic() + 10
        while exists(stage) and time.monotonic() < gone_by:
            time.sleep(0.05)
        assert not exists(stage)


def test_a_stage_ends_that_was_orphaned_before_it_looked() -> None:
    program = (
        "from shopstream.leash import end_with; import time; end_with(1 << 22); time.sleep(60)"
    )
    run = subprocess.run([sys.executable, "-c", program], timeout=30)
    assert run.returncode == -15
