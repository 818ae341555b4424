"""What a build has to do: which tables, which days, in what order. Pure: data in, data out.

The plan is made from what is known before anything is read: the days of newly landed files and what
changed in tables since. A table whose rows belong together over days (`keys`) may turn out to touch
more; what depends on it is then built for these as well.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from shopstream.errors import ConfigError

Days: TypeAlias = frozenset[str] | None
"""ISO dates; None means every day."""
Mode: TypeAlias = Literal["full", "days", "whole"]
NO_DAYS: frozenset[str] = frozenset()


class Planned(Protocol):
    """What the plan has to know of a table: its name, how it is built, what it reads, and of which
    of these the days around a day matter, how many.
    """

    @property
    def name(self) -> str: ...
    @property
    def build(self) -> str: ...
    @property
    def reads(self) -> Sequence[str]: ...
    @property
    def reach(self) -> Mapping[str, int]: ...


class Standing(NamedTuple):
    """What is known of a table before the build.

    `published`: it has a snapshot, made by the model as it is. `files` are newly landed files of
    its source and `days` theirs (event days). `pending` are its days that tables which it reads
    touched since it read them.
    """

    published: bool
    files: int = 0
    days: frozenset[str] = NO_DAYS
    pending: Days = NO_DAYS


class Step(Struct, frozen=True):
    """One table to build: `days` are those known beforehand, empty for all of them."""

    table: str
    mode: Mode
    days: list[str]
    files: int
    why: str


class Wanted(NamedTuple):
    """What a user asks for: all in `full`, some tables (`a`; `a+` with all made of it), a range.

    With `alone` nothing that a table holds is kept unless bronze still has it; with `anyway` files
    of bronze that can't be read are left out.
    """

    full: bool = False
    select: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    alone: bool = False
    anyway: bool = False

    @property
    def ranged(self) -> bool:
        return bool(self.since or self.until)

    def holds(self, day: str) -> bool:
        return (not self.since or day >= self.since) and (not self.until or day <= self.until)


def plan(
    models: Mapping[str, Planned], standing: Mapping[str, Standing], wanted: Wanted
) -> list[Step]:
    """The steps of a build, each after those it reads. Raises ConfigError for an unknown table."""
    chosen = selected(models, wanted.select)
    steps: dict[str, Step] = {}
    for name, model in models.items():
        if name in chosen:
            step = _step(model, standing[name], steps, wanted)
            if step is not None:
                steps[name] = step
    return list(steps.values())


def selected(models: Mapping[str, Planned], select: Iterable[str]) -> set[str]:
    """The tables that `select` names; all for none. Raises ConfigError for an unknown one."""
    chosen: set[str] = set()
    for part in select:
        name = part.removesuffix("+")
        if name not in models:
            raise ConfigError(
                f"--select {part}: there is no such table; there are {', '.join(models)}"
            )
        chosen |= {name, *descendants(models, name)} if part.endswith("+") else {name}
    return chosen or set(models)


def descendants(models: Mapping[str, Planned], name: str) -> set[str]:
    """All tables that are made of this one, directly or not."""
    found: set[str] = set()
    for other, model in models.items():  # each comes after those that it reads
        if name in model.reads or found.intersection(model.reads):
            found.add(other)
    return found


def _step(model: Planned, now: Standing, steps: Mapping[str, Step], wanted: Wanted) -> Step | None:
    made_of = [steps[name] for name in model.reads if name in steps]
    if wanted.full or not now.published:
        why = "asked for in full" if wanted.full else "not built by this model yet"
        return Step(model.name, "full", [], now.files, why)
    if wanted.ranged:
        return _ranged(model, now, made_of, wanted)
    if model.build == "whole":
        if now.files or now.pending is None or now.pending or made_of:
            return Step(model.name, "whole", [], now.files, _why(now, made_of))
        return None
    days: Days = now.days | now.pending if now.pending is not None else None
    for step in made_of:
        days = union([days, _touched(model, step)])
    if days is None:
        return Step(model.name, "full", [], now.files, _why(now, made_of))
    if not days and not made_of:
        return None
    return Step(model.name, "days", sorted(days), now.files, _why(now, made_of))


def _ranged(model: Planned, now: Standing, made_of: Sequence[Step], wanted: Wanted) -> Step | None:
    """A backfill: the days of a range again. `now.days` are those within it that there are."""
    if model.build == "merge":
        if not now.files:
            return None
        return Step(model.name, "days", sorted(now.days), now.files, "asked for from bronze")
    why = _why(now, made_of) if made_of else "asked for"
    if model.build == "whole":
        return Step(model.name, "whole", [], 0, why) if made_of or wanted.select else None
    days = union([now.days, *(_touched(model, step) for step in made_of)])
    if days is None:
        return Step(model.name, "full", [], 0, why)
    return Step(model.name, "days", sorted(days), 0, why) if days else None


def _touched(model: Planned, step: Step) -> Days:
    """The days of a table that a step of what it reads touches."""
    if step.mode != "days":
        return None
    return grown(frozenset(step.days), model.reach.get(step.table, 0))


def _why(now: Standing, made_of: Sequence[Step]) -> str:
    if made_of:
        return f"{', '.join(step.table for step in made_of)} will change"
    if now.files:
        return f"{now.files} new file{'s' * (now.files != 1)}"
    return "what it is made of has changed"


def grown(days: Days, by: int) -> Days:
    """These days and those up to `by` days before and after each, as far as the calendar goes."""
    if days is None or not by:
        return days
    return _dates({_number(day) + n for day in days for n in range(-by, by + 1)})


def last_days(newest: str, before: int) -> frozenset[str]:
    """This day and so many before it, as far as the calendar goes."""
    return _dates(range(_number(newest) - before, _number(newest) + 1))


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _dates(numbers: Iterable[int]) -> frozenset[str]:
    known = range(date.min.toordinal(), date.max.toordinal() + 1)
    return frozenset(date.fromordinal(n).isoformat() for n in numbers if n in known)


def union(parts: Iterable[Collection[str] | None]) -> Days:
    """Days of any of these; every day if one is every day."""
    found: set[str] = set()
    for part in parts:
        if part is None:
            return None
        found.update(part)
    return frozenset(found)
