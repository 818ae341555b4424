"""Power cuts, from the system calls that a process made: what a disk may hold after one.

A cut keeps what was synced. Of everything else, writes, names given to files and names taken away,
it may keep all, none or any part, and may tear a write in the middle. So each cut is tried in
several ways. Names survive when their folder was synced, as POSIX has it, and not before.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from random import Random
from typing import NamedTuple

SECTOR = 512
CALLS = "openat,write,pwrite64,fdatasync,fsync,ftruncate,rename,unlink,unlinkat,mkdir"
"""Those that matter here: `sync_file_range` and `fallocate` promise nothing."""


class Call(NamedTuple):
    """A system call that succeeded: its name, the file, and what else it depends on."""

    name: str
    path: str
    data: bytes = b""
    offset: int = 0
    other: str = ""


def traced(command: Sequence[str], trace: Path) -> list[str]:
    """The command that runs `command` and writes its calls, data included, to `trace`."""
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "10000000", "-o",
            str(trace), "-e", f"trace={CALLS}", *command]  # fmt: skip


_LINE = re.compile(r"^(\d+) +(.*)$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$", re.DOTALL)
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (\d+)(?:<([^>]*)>)?", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"^(\d+)<([^>]*)>")


def calls_in(trace: Path, folder: Path) -> Iterator[Call]:
    """The calls about files under `folder`, and what was written to standard output (path "").

    A call that another thread interrupted counts where it returned.
    """
    waiting: dict[str, str] = {}
    for line in trace.read_text("ascii", "replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, text = found.groups()
        if text.endswith(_UNFINISHED):
            waiting[thread] = text[: -len(_UNFINISHED)]
            continue
        if resumed := _RESUMED.match(text):
            text = waiting.pop(thread, "") + resumed[1]
        if (call := _parsed(text, str(folder))) is not None:
            yield call


def _parsed(text: str, folder: str) -> Call | None:
    found = _CALL.match(text)
    if found is None:
        return None
    name, arguments, result, opened = found.groups()
    texts = [bytes.fromhex(t.replace("\\x", "")) for t in _TEXT.findall(arguments)]
    if fd := _FD.match(arguments):
        path = _plain(fd[2])
        if name == "write" and fd[1] == "1":
            return Call("write", "", texts[0])
    elif name == "openat":
        path = _plain(opened or "")
    else:
        path = texts[0].decode() if texts else ""
    if not path.startswith(folder):
        return None
    match name:
        case "openat":
            flags = "".join(f for f in ("O_CREAT", "O_TRUNC") if f in arguments)
            return Call(name, path, other=flags) if flags else None
        case "write":
            return Call(name, path, texts[0][: int(result)], -1)
        case "pwrite64":
            return Call(name, path, texts[0][: int(result)], int(arguments.rpartition(", ")[2]))
        case "ftruncate":
            return Call(name, path, offset=int(arguments.rpartition(", ")[2]))
        case "rename":
            return Call(name, path, other=texts[1].decode())
    return Call(name, path)


def _plain(path: str) -> str:
    """strace -xx writes the paths of descriptors in hexadecimal, too."""
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path


class _File:
    """A file or, with `content` None, a folder."""

    def __init__(self, content: bytes | None) -> None:
        self.synced = bytearray(content or b"")
        self.size = len(self.synced)
        self.folder = content is None


class _Change(NamedTuple):
    """Something not synced yet. `subject` is what must be synced for it to last."""

    subject: object
    apply: Callable[["_Kept"], None]
    torn: Callable[["_Kept", int], None] | None = None
    size: int = 0


class _Kept:
    """What is on the platter: names and contents."""

    def __init__(self, names: dict[str, _File], contents: dict[int, bytearray]) -> None:
        self.names = names
        self.contents = contents

    def copy(self) -> "_Kept":
        return _Kept(dict(self.names), {k: bytearray(v) for k, v in self.contents.items()})


class Disk:
    """A disk that `calls` happen to, below `folder`; `cut` says what a power cut may leave."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._now: dict[str, _File] = {}
        self._kept = _Kept({}, {})
        self._changes: list[_Change] = []
        self._files: list[_File] = []
        self._learn(folder)

    def _learn(self, folder: Path) -> None:
        """What is there at first has been synced."""
        for path in [folder, *sorted(folder.rglob("*"))]:
            file = self._made(None if path.is_dir() else path.read_bytes())
            self._now[str(path)] = self._kept.names[str(path)] = file

    def _made(self, content: bytes | None) -> _File:
        file = _File(content)
        self._files.append(file)
        self._kept.contents[id(file)] = bytearray(content or b"")
        return file

    def do(self, call: Call) -> None:
        """Let a call happen."""
        match call.name:
            case "openat":
                self._open(call)
            case "mkdir":
                self._name(call.path, self._made(None))
            case "write" | "pwrite64":
                self._write(call)
            case "ftruncate":
                self._truncate(self._now[call.path], call.offset)
            case "rename":
                file = self._now.pop(call.path)
                self._now[call.other] = file
                self._change_names(call.path, lambda kept: _rename(kept, call, file))
            case "unlink" | "unlinkat":
                self._now.pop(call.path, None)
                self._change_names(call.path, lambda kept: kept.names.pop(call.path, None))
            case "fsync" | "fdatasync":
                self._sync(call.path)

    def _open(self, call: Call) -> None:
        if call.path not in self._now and "O_CREAT" in call.other:
            self._name(call.path, self._made(b""))
        elif "O_TRUNC" in call.other and call.path in self._now:
            self._truncate(self._now[call.path], 0)

    def _name(self, path: str, file: _File) -> None:
        if path not in self._now:
            self._now[path] = file
            self._change_names(path, lambda kept: kept.names.__setitem__(path, file))

    def _change_names(self, path: str, apply: Callable[[_Kept], object]) -> None:
        folder = self._now.get(str(PurePath(path).parent))
        self._changes.append(_Change(folder, lambda kept: void(apply(kept))))

    def _write(self, call: Call) -> None:
        file = self._now.get(call.path)
        if file is None:
            return  # taken away while it was open
        offset = file.size if call.offset < 0 else call.offset
        file.size = max(file.size, offset + len(call.data))

        def torn(kept: _Kept, length: int) -> None:
            _put(kept.contents[id(file)], offset, call.data[:length])

        self._changes.append(
            _Change(file, lambda kept: torn(kept, len(call.data)), torn, len(call.data))
        )

    def _truncate(self, file: _File, size: int) -> None:
        file.size = size
        self._changes.append(_Change(file, lambda kept: _cut(kept.contents[id(file)], size)))

    def _sync(self, path: str) -> None:
        subject = self._now.get(path)
        left = []
        for change in self._changes:
            if change.subject is subject:
                change.apply(self._kept)
            else:
                left.append(change)
        self._changes = left

    def cut(self, chance: Random, keep: float, into: Path) -> None:
        """Write below `into` what a power cut now leaves, when each change that was not synced is
        kept with probability `keep`, and torn now and then.
        """
        kept = self._kept.copy()
        for change in self._changes:
            if chance.random() >= keep:
                continue
            if change.torn and keep < 1 and chance.random() < 0.3:
                change.torn(kept, chance.randrange(0, change.size + 1, SECTOR))
            else:
                change.apply(kept)
        for path, file in sorted(kept.names.items()):
            parents = (str(p) for p in PurePath(path).parents)
            if any(p.startswith(self._folder) and p not in kept.names for p in parents):
                continue
            place = into / PurePath(path).relative_to(self._folder)
            if file.folder:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.write_bytes(kept.contents[id(file)])


def void(_: object) -> None:
    """Nothing comes of it."""


def _rename(kept: _Kept, call: Call, file: _File) -> None:
    kept.names.pop(call.path, None)
    kept.names[call.other] = file


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _cut(content: bytearray, size: int) -> None:
    if len(content) > size:
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
