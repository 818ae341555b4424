"""What a build did, as every engine tells it."""

from msgspec import Struct

from shopstream.lake.plan import Step


class Built(Struct, omit_defaults=True, kw_only=True):
    """What became of one table. `days` are those written anew, `rows` those in them."""

    table: str
    mode: str
    days: int = 0
    rows: int = 0
    seconds: float = 0.0
    failures: list[str] = []
    kept_back: str = ""


class BuildReport(Struct, kw_only=True):
    """A build. `build` is 0 when there was nothing to do; `steps` is the plan."""

    build: int = 0
    steps: list[Step] = []
    tables: list[Built] = []
    seconds: float = 0.0

    @property
    def failed(self) -> list[str]:
        return [built.table for built in self.tables if built.failures]
