"""Parse every line of an NDJSON file into a dict with orjson; prints the seconds it took."""

import sys
import time
from pathlib import Path

import orjson  # type: ignore[import-not-found]  # lives in the peers' own environment


def main(path: Path) -> None:
    loads = orjson.loads
    lines = path.read_bytes().split(b"\n")
    started = time.perf_counter()
    for line in lines:
        try:
            loads(line)
        except orjson.JSONDecodeError:
            continue
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
