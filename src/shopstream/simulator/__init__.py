"""A simulated shop: believable events by the seed, sent where they are wanted."""

from shopstream.simulator.run import SimulationReport, run_simulation
from shopstream.simulator.shop import KINDS, Kind, Simulated, simulate

__all__ = ["KINDS", "Kind", "Simulated", "SimulationReport", "run_simulation", "simulate"]
