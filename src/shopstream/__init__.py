"""shopstream: a shop's events in; offers, alerts and tables you can trust out."""

from importlib.metadata import version

__version__ = version("shopstream")
