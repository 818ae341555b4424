"""Appends rows to a log and says after each one, on standard output, that it is durable.

Run as `python -m tests.faults.appending FOLDER ROWS shipped|normal|off`, twice over the same folder
if need be: ids go on. The log is checkpointed every few pages, so that this happens often.
"""

import os
import sys
from pathlib import Path

from shopstream.events import Entry
from shopstream.local.log import SqliteLog

CHECKPOINT_PAGES = 12


def main() -> None:
    folder, rows, synchronous = sys.argv[1:]
    log = SqliteLog(Path(folder))
    if synchronous != "shipped":
        # The control: a log that promises more than its settings keep.
        log._db.pragma("synchronous", synchronous)
    log._db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
    first = log.end()
    for n in range(first, first + int(rows)):
        event = b'{"n":%d,"noise":"%s"}' % (n, os.urandom(1_500).hex().encode())
        entry = Entry(topic="clicks", events=[event], source="test", received_us=n, units=1)
        log.append([entry], progress={"test": n + 1})
        os.write(1, b"%d\n" % n)
    log.close()


if __name__ == "__main__":
    main()
