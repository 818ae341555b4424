"""The command line: parse, call, print. What a command does is in the module it imports.

Imports of stages are inside their commands, so that `--help` and completion answer at once.
Nothing outside this package prints.
"""

from shopstream.cli.app import app, main

# In the order of `shopstream --help`.
from shopstream.cli import running, sending, looking, lake, lake_tend, lake_compile  # isort: skip
from shopstream.cli import ask, quarantine, alerts, keys, package  # isort: skip

__all__ = [
    "alerts", "app", "ask", "keys", "lake", "lake_compile", "lake_tend", "looking", "main",
    "package", "quarantine", "running", "sending",
]  # fmt: skip
