"""The examples in README.md and docs/ do what they say. How they are written: CONTRIBUTING.md."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.docs.shell import commands_of, in_a_session

from shopstream.domain.failures import Limits, failures_of
from shopstream.domain.rules import parse_rules
from shopstream.events import EVENT_OF
from shopstream.settings import load_settings

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<skip>[^\n]+) -->\n)?"
    r"^```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
STYLING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ADDRESS = "localhost:8080"
ANY_ADDRESS = "127.0.0.1:8080"
STAYS = "stays"


class Block(NamedTuple):
    line: int
    language: str
    info: str
    text: str


def blocks_of(page: str) -> list[Block]:
    return [
        Block(page[: m.start("text")].count("\n") + 1, m["language"], m["info"].strip(), m["text"])
        for m in FENCE.finditer(page)
        if not m["skip"]
    ]


class Reader:
    """Someone who follows a page in an empty folder, block by block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.namespace: dict[str, Any] = {}
        self.running: subprocess.Popen[bytes] | None = None
        self.variables = Path(f"{folder}-variables")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SHOPSTREAM_")} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SHOPSTREAM_PORT": str(self.port),
            "COLUMNS": "120",
            "TERM": "xterm",
        }

    def follow(self, block: Block) -> None:
        match block.language:
            case "console":
                for command, shown in commands_of(block.text):
                    self.type(command, shown, block.info)
            case "python":
                with chdir(self.folder):
                    exec(self.local(block.text), self.namespace)
            case "toml":
                self.write(block.info, block.text)
            case "json" if block.info in EVENT_OF:
                now_us = int(time.time() * 1e6) + 10 * 365 * 86_400 * 1_000_000
                assert not failures_of(block.info, block.text.encode(), now_us, Limits())
            case "json":
                msgspec.json.decode(block.text)
            case "text" | "mermaid":
                pass
            case other:
                pytest.fail(f"line {block.line}: nobody checks a block of {other}")

    def write(self, name: str, text: str) -> None:
        data_dir = self.folder / "shopstream-data"
        data_dir.mkdir(exist_ok=True)
        match name:
            case "rules.toml":
                parse_rules(text, name)
                (data_dir / name).write_text(text)
            case "shopstream.toml":
                (data_dir / name).write_text(text)
                load_settings({"data_dir": data_dir}, {})
            case _ if name.endswith(".toml"):
                (self.folder / name).write_text(text)
            case _:
                pytest.fail("a block of toml says which file it is")

    def type(self, command: str, shown: str, info: str) -> None:
        if info == STAYS:
            self.start(command, shown)
            return
        assert not command.endswith("&"), "what stays has a terminal of its own: `console stays`"
        code, output = on_a_terminal(
            in_a_session(self.local(command), self.variables), self.folder, self.env
        )
        output = output.replace(f"localhost:{self.port}", ADDRESS)
        wanted = int(info.removeprefix("exits ")) if info else 0
        assert code == wanted, f"$ {command}\n{output}"
        if shown.strip():
            assert like(shown).fullmatch(tidy(output)), f"$ {command}\n{output}"

    def start(self, command: str, shown: str) -> None:
        """Type it into a terminal of its own and wait for what it is to show. What ran in that
        terminal before is ended by Ctrl-C.
        """
        self.press_ctrl_c()
        shown = shown.replace(ANY_ADDRESS, f"127.0.0.1:{self.port}")
        with (self.folder / "output").open("wb") as output:
            self.running = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(shown, self.running, self.folder / "output")

    def press_ctrl_c(self) -> None:
        """As a terminal does it: to all that runs in it."""
        if self.running is not None:
            os.killpg(self.running.pid, signal.SIGINT)
            assert self.running.wait(30) in (0, 130), (self.folder / "output").read_text()
            self.running = None

    def local(self, text: str) -> str:
        return text.replace(ADDRESS, f"localhost:{self.port}")


def like(shown: str) -> re.Pattern[str]:
    """`…` stands for anything, blanks and line ends beside it included."""
    parts = re.split(r"\s*…\s*", tidy(shown))
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def tidy(text: str) -> str:
    lines = [re.sub(r"\s+", " ", line).rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip()


def on_a_terminal(command: list[str], folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """The exit code and all that a terminal would show."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    # Linux says EIO, others an empty read, once the last process has closed its side.
    while chunk := _read(ours):
        output += chunk
    os.close(ours)
    return process.wait(), STYLING.sub("", output.decode()).replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(shown: str, process: subprocess.Popen[bytes], output: Path) -> None:
    for _ in range(200):
        if like(shown).match(tidy(STYLING.sub("", output.read_text()))):
            return
        assert process.poll() is None, output.read_text()
        time.sleep(0.1)
    pytest.fail(output.read_text())


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    someone = Reader(folder)
    try:
        yield someone
        someone.press_ctrl_c()
    finally:
        if someone.running is not None:
            os.killpg(someone.running.pid, signal.SIGKILL)
            someone.running.wait()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page.read_text("utf-8"))
    if not blocks:
        return
    if "curl " in page.read_text("utf-8") and not shutil.which("curl"):
        pytest.skip("curl isn't installed")
    with reader(tmp_path) as someone:
        for block in blocks:
            someone.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


def test_shown_output_is_compared_and_ellipses_stand_for_anything() -> None:
    assert like("a … c\n…\nend").fullmatch(tidy("a  b  c\nmore\nand more\nend\n"))
    assert not like("a … c").fullmatch("a b d")
