"""Make damaged or missing files of bronze anew from the log, as long as it has what was landed."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256

from msgspec import Struct

from shopstream.domain.landing import Range
from shopstream.engine import Engine, open_engine
from shopstream.errors import LogBroken
from shopstream.events import TOPICS
from shopstream.flow_settings import limits_of
from shopstream.flows.landing import land_range
from shopstream.lake.files import is_whole
from shopstream.ports import Lake
from shopstream.settings import Settings

NO_MORE = "the log has its events no more (log_ttl)"
ANOTHER = "what the log has makes another file: a setting by which events are judged has changed"


class Relanded(Struct):
    """What `reland` did. `restored` files are again what was landed, `lost` ones are not, and why
    each.
    """

    restored: list[str] = []
    lost: dict[str, str] = {}


def reland(settings: Settings) -> Relanded:
    """Put right each file of bronze that is not what was landed, or not there.

    The same range of the log makes the same bytes, and no file is written whose SHA-256 is not the
    one that was remembered. Safe while stages run. Raises DataDirError when nothing was landed yet.
    """
    engine = open_engine(settings, create=False)
    limits = limits_of(settings)
    done = Relanded()
    with closing(engine.read_log()) as log:
        for one, wanted in sorted(_broken(engine).items()):
            if one.first < log.start():
                done.lost |= dict.fromkeys(wanted, NO_MORE)
                continue
            lake = _Picky(engine.lake(), wanted)
            try:
                land_range(one, log.rows(*one), lake, limits)
            except LogBroken as e:
                done.lost |= dict.fromkeys(wanted, str(e))
                continue
            done.restored += lake.taken
            done.lost |= {name: ANOTHER for name in wanted if name not in lake.taken}
    return done


def _broken(engine: Engine) -> dict[Range, dict[str, str]]:
    """The hashes of the files to make, by name, of each range of the log."""
    found: dict[Range, dict[str, str]] = defaultdict(dict)
    with engine.read_landed() as landed:
        for topic in (*TOPICS, "quarantine"):
            for file in landed.since(0, topic):
                whole = is_whole(engine.dir.root / file.name, file.sha256)
                if not whole and file in landed.since(file.id - 1, topic, file.id):
                    found[Range(file.first, file.after)][file.name] = file.sha256
    return found


class _Picky(Lake):
    """Takes the files that are wanted, each if it has the hash that is wanted."""

    def __init__(self, lake: Lake, wanted: dict[str, str]) -> None:
        self._lake, self._wanted = lake, wanted
        self.taken: list[str] = []

    def put(self, name: str, body: bytes) -> None:
        if self._wanted.get(name) == sha256(body).hexdigest():
            self._lake.put(name, body)
            self.taken.append(name)

    def get(self, name: str) -> bytes:
        return self._lake.get(name)

    def delete(self, name: str) -> None:
        raise NotImplementedError(f"{name}: nothing is deleted here")

    def names(self, prefix: str) -> Iterable[str]:
        return self._lake.names(prefix)
