"""Stages start together: whoever comes first makes the log, and all find it whole."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from shopstream.local.log import SqliteLog
log = SqliteLog.reader(Path(sys.argv[1]))
print(log.start(), log.end())
"""


def test_readers_that_start_at_once_find_a_whole_log(tmp_path: Path) -> None:
    for n in range(4):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / str(n))]
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        said = [process.communicate(timeout=60) for process in started]
        assert said == [("0 0\n", "")] * 5
