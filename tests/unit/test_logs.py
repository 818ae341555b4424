"""Logs go where they are sent, in a form for who reads them."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from shopstream.logs import log_to


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_file_gets_json_lines_with_level_and_time() -> None:
    file = io.StringIO()
    log_to(file, "info")
    structlog.get_logger().info("started", port=8080)
    line = json.loads(file.getvalue())
    assert (line["event"], line["level"], line["port"]) == ("started", "info", 8080)
    assert line["timestamp"].endswith("Z")


def test_what_is_below_the_level_is_not_logged() -> None:
    file = io.StringIO()
    log_to(file, "warning")
    structlog.get_logger().info("started")
    assert file.getvalue() == ""


def test_a_terminal_gets_one_readable_line_above_the_status_line() -> None:
    file = Terminal()
    log_to(file, "info", before="> ")
    structlog.get_logger().warning("slow", took_ms=12)
    assert file.getvalue() == "> warning: slow took_ms=12\n"


def test_a_notice_is_shown_as_it_is() -> None:
    file = Terminal()
    log_to(file, "info")
    structlog.get_logger().warning("open", notice="Anyone may send.")
    assert file.getvalue() == "Anyone may send.\n"


def test_what_senders_wrote_cannot_move_the_cursor() -> None:
    file = Terminal()
    log_to(file, "info")
    structlog.get_logger().warning("refused", path="\x1b[2Jevil")
    assert "\x1b[2J" not in file.getvalue()
