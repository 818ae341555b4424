"""HTTP in, durable events in the log; look-ups out. `run_collector` is the process."""

from shopstream.collector.access import OPEN_NOTICE, is_loopback
from shopstream.collector.app import Collector
from shopstream.collector.server import CollectorServer, run_collector

__all__ = ["OPEN_NOTICE", "Collector", "CollectorServer", "is_loopback", "run_collector"]
