"""Measurements of the machine that shopstream runs on. What Linux alone tells is None elsewhere."""

import os
import resource
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

NETWORK_FILESYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "9p", "afs", "ncpfs", "vboxsf"),
        *("ceph", "glusterfs", "lustre", "ocfs2", "gfs2"),
        *("fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.rclone", "fuse.gcsfuse"),
    }
)
MEMORY_FILESYSTEMS = frozenset(("tmpfs", "ramfs"))
_FSYNC_BYTES = 4_096
_FSYNCS_S_MAX = 1.0


def fsync_seconds(folder: Path, tries: int = 20) -> float:
    """The median time to append 4 KiB to a file in `folder` and sync it; at most about 1 s.

    Raises OSError when the folder can't be written. Leaves nothing behind.
    """
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        until = time.monotonic() + _FSYNCS_S_MAX
        while len(took) < tries and (not took or time.monotonic() < until):
            started = time.perf_counter()
            file.write(bytes(_FSYNC_BYTES))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took)


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the file system that holds `path` (`ext4`, `nfs4`, …), None when unknown."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    path = path.resolve()
    found: tuple[int, str] | None = None
    for line in lines:
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = Path(parts[1].encode("latin-1", "replace").decode("unicode_escape"))
        # Of two on the same folder the later one is on top.
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), parts[2])
    return found[1] if found else None


def free_bytes(folder: Path) -> int:
    """What may still be written to the file system of `folder`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def allow_open_files(wanted: int) -> int:
    """Let this process have so many files open at a time, or as many as it may; returns how many
    of those wanted it then may have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)


def memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Memory that is free or can be freed, no more than a container's limit leaves."""
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return max(0, min(available, limit - used))


def flock_holder(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that holds a `flock` on the file, None when none is known to."""
    try:
        inode = path.stat().st_ino
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        parts = line.split()
        if len(parts) >= 6 and parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
            return int(parts[4]) if parts[4].isdigit() else None
    return None
