"""The metadata's part of `shopstream check`: what the catalog leads to can be read, and names the
data files that readers read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shopstream.errors import DataDirError
from shopstream.lake.catalog import lake_folder, pointers
from shopstream.lake.current import TableNow, read_current
from shopstream.lake.damage import damaged_metadata, data_files, remedy
from shopstream.lake.repoint import astray

TRIES = 3


class Metadata(NamedTuple):
    """What is wrong with the metadata of tables that readers see: of `broken` ones, as
    `differences`. `uncompared` says what could not be looked at, and why. Of `unknown` tables the
    catalog doesn't know what readers read.
    """

    broken: set[str]
    unknown: set[str]
    differences: list[str]
    uncompared: list[str]


def verify_metadata(data_dir: Path, shown: Mapping[str, TableNow]) -> Metadata:
    """Read all metadata of the tables that readers see. `find_lost` tells of a catalog that is lost
    or leads to an older version of them.
    """
    found = Metadata(set(), set(), [], [])
    try:
        lost = (shown.keys() - pointers(data_dir).keys()) | astray(data_dir).keys()
    except DataDirError:
        return found  # `find_lost` tells of it
    found.broken.update(lost & shown.keys())
    try:
        for table in sorted(shown.keys() - lost):
            said, is_unknown = _differences(data_dir, table, shown[table])
            if said:
                found.broken.add(table)
                found.differences.extend(said)
            if is_unknown:
                found.unknown.add(table)
    except DataDirError as e:
        found.uncompared.append(f"the tables' metadata: {e}")
    return found


def _differences(data_dir: Path, table: str, seen: TableNow) -> tuple[list[str], bool]:
    """What is wrong with a table, and whether the catalog doesn't know what readers read of it. A
    build may go on meanwhile, and files that it made unneeded go after a while: what is wrong then
    is looked at again.
    """
    lake = lake_folder(data_dir)
    pointer = pointers(data_dir).get(table)
    for _ in range(TRIES):
        if pointer is None:
            break
        is_unknown = False
        found = [
            f"lake/{damage.file} {damage.why}; {remedy(table)}"
            for damage in damaged_metadata(pointer, lake)
        ]
        if not found:
            name, named = Path(pointer).name, data_files(pointer, seen.snapshot, lake)
            is_unknown = named is None and _is_shown(data_dir, table, seen)
            if is_unknown:
                found = [
                    f"{table}: {name} does not know what readers read: `shopstream build` shows"
                    " them what it does, or says what else to do"
                ]
            elif named is not None and named != set(seen.files):
                found = [
                    f"{table}: {name} leads to other data files than readers read; {remedy(table)}"
                ]
        if not found or pointer == (pointer := pointers(data_dir).get(table)):
            return found, is_unknown
    return [], False


def _is_shown(data_dir: Path, table: str, seen: TableNow) -> bool:
    """Whether readers still see it: what they saw before may be forgotten."""
    now = read_current(data_dir).tables.get(table)
    return now is not None and now.snapshot == seen.snapshot
