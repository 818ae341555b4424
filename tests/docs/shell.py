"""Reading the commands of a page as a shell does that they are pasted into, to the letter."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

CONSOLE = re.compile(r"^```console[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_UNFINISHED = re.compile(r"unexpected (?:EOF|end of file)")
_SESSION = """\
[ ! -e "$1" ] || . "$1"
set -a
eval "$2"
code=$?
export -p > "$1"
exit $code
"""


def commands_of(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, as written, and what is shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        count = 1
        while count < len(lines) and goes_on("".join(lines[:count])):
            count += 1
        yield "".join(lines[:count]).rstrip("\n"), "".join(lines[count:])


def goes_on(command: str) -> bool:
    """Whether a shell would ask for another line."""
    if command.rstrip("\n").endswith("\\"):
        return True
    return bool(_UNFINISHED.search(_bash(command, "-n").stderr))


def parsed(command: str) -> str:
    """The command as bash has understood it: joined where a line ends in a backslash, but for
    what is in single quotes. Raises ValueError for what is no command.
    """
    done = _bash(f"f() {{\n{command}\n}}; declare -f f")
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def in_a_session(command: str, variables: Path) -> list[str]:
    """The words that run a command unchanged in bash, with the variables that the commands before
    it have set. They are kept in the file `variables`.
    """
    return ["bash", "-c", _SESSION, "bash", str(variables), command]


def _bash(text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", *options, "-c", text],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
