"""Ctrl-C when Python alone would abort, print a traceback or forget that the work was done."""

import subprocess
import sys
from pathlib import Path

import pytest

CTRL_C = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"


def ended(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """What came of a process that runs `script` while Ctrl-C ends it."""
    script = "".join(f"    {line}\n" for line in script.splitlines())
    start = "from shopstream.stopping import ended_by_ctrl_c\nwith ended_by_ctrl_c():\n"
    return subprocess.run(
        [sys.executable, "-c", start + script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "imported",
    [
        CTRL_C,
        f"try:\n    {CTRL_C}except KeyboardInterrupt:\n    pass\n",
        f"exec({CTRL_C!r})",
    ],
    ids=["plain", "where a module takes all exceptions", "in exec"],
)
def test_ctrl_c_ends_a_process_that_is_importing_without_a_word(
    tmp_path: Path, imported: str
) -> None:
    (tmp_path / "heavy.py").write_text(imported)
    done = ended(tmp_path, "import heavy\nprint('went on')")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_elsewhere_can_be_told_of_before_the_end(tmp_path: Path) -> None:
    done = ended(tmp_path, f"try:\n    {CTRL_C}except KeyboardInterrupt:\n    print('halfway')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "halfway\n", "")


def test_ctrl_c_ends_what_may_be_killed_wherever_it_stands(tmp_path: Path) -> None:
    script = (
        "from shopstream.stopping import killed_by_ctrl_c\n"
        f"with killed_by_ctrl_c():\n    try:\n        {CTRL_C}"
        "    except BaseException:\n        print('taken for something else')\n"
    )
    done = ended(tmp_path, script)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_may_be_killed_is_no_more_once_it_is_done(tmp_path: Path) -> None:
    script = (
        "from shopstream.stopping import killed_by_ctrl_c\n"
        "with killed_by_ctrl_c():\n    pass\n"
        f"try:\n    {CTRL_C}except KeyboardInterrupt:\n    print('told')\n"
    )
    done = ended(tmp_path, script)
    assert (done.returncode, done.stdout) == (0, "told\n")


def test_a_thread_that_goes_on_does_not_keep_a_process_that_ctrl_c_ended(tmp_path: Path) -> None:
    script = (
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        f"print('said')\n{CTRL_C}"
    )
    done = ended(tmp_path, script)
    assert (done.returncode, done.stdout) == (130, "said\n")


def test_ctrl_c_when_the_work_is_done_does_not_make_it_undone(tmp_path: Path) -> None:
    script = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)"
    done = ended(tmp_path, script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "RuntimeError('Query interrupted')"])
def test_ctrl_c_that_nobody_takes_ends_with_its_exit_code(tmp_path: Path, error: str) -> None:
    script = f"try:\n    {CTRL_C}except KeyboardInterrupt:\n    raise {error} from None"
    done = ended(tmp_path, script)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("before", ["", f"try:\n    {CTRL_C}except KeyboardInterrupt:\n    pass\n"])
def test_an_error_that_is_not_due_to_ctrl_c_stays_what_it_is(tmp_path: Path, before: str) -> None:
    done = ended(tmp_path, f"{before}raise RuntimeError('broken')")
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr


def test_a_process_that_ignores_sigint_goes_on_ignoring_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c"),
            "from shopstream.stopping import ended_by_ctrl_c\n"
            f"with ended_by_ctrl_c():\n    {CTRL_C}    print('went on')",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
