"""The least that a processor in plain Python does: log in, each event decoded and put under its
user, one rule counted in a dict, a checkpoint with every batch.

It knows no repeated ids, no sessions, no checks beyond types, no late or moot offers, no timers,
no ledger and no quarantine, and forgets what it counted when it ends. On the same log, decoder,
tables and batches as ours, what it takes is what is left for all of these.
"""

import gc
import sys
from pathlib import Path

import msgspec

from shopstream.events import Click
from shopstream.local.datadir import open_data_dir
from shopstream.local.log import SqliteLog
from shopstream.local.tables import RocksTables

BATCH_EVENTS = 10_000
VIEWS = 3


def main(root: Path) -> None:
    data_dir = open_data_dir(root)
    log, tables = SqliteLog.reader(data_dir.log), RocksTables(data_dir.tables(0))
    decode = msgspec.json.Decoder(Click).decode
    views: dict[tuple[str, str | None], int] = {}
    position = offers = 0
    gc.disable()
    while rows := log.read(position, events_max=BATCH_EVENTS):
        batch = tables.batch()
        for row in rows:
            stored: list[tuple[str, bytes]] = []
            for raw in row.entries[0].events:
                try:
                    click = decode(raw)
                except msgspec.DecodeError:
                    continue
                stored.append((click.user_id, raw))
                if click.event_type == "view":
                    key = (click.user_id, click.product_id)
                    views[key] = seen = views.get(key, 0) + 1
                    offers += seen == VIEWS
            for n, (user_id, raw) in enumerate(stored, row.position):
                batch.put("browsing_events", user_id, f"{n:020d}", raw)
        position = rows[-1].next
        batch.put("state", "checkpoint", "", b"%d" % position)
        tables.write(batch)
    tables.sync()
    tables.close()
    log.close()
    print(offers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
