"""How many events the tables don't have yet."""

from shopstream.engine import open_engine
from shopstream.errors import ShopstreamError
from shopstream.settings import Settings


def events_waiting(settings: Settings) -> int:
    """Events in the log that have not landed, so that no build can have taken them in; 0 where
    that can't be told. Rejected events are among them.
    """
    try:
        engine = open_engine(settings, create=False)
        log = engine.read_log()
        try:
            end = log.end()
        finally:
            log.close()
        landed = engine.read_landed()
        try:
            return max(0, end - landed.position())
        finally:
            landed.close()
    except ShopstreamError:
        return 0
