"""Event + facts -> enriched event: what a click leaves out that its user's history knows.

A click without `session_id` belongs to the session going on, or starts one after a silence.
A click without `user_type` is of a returning user when an earlier session is known.
"""

from hashlib import blake2b

from shopstream.events import Click


class Visit:
    """What enrichment remembers of a user: the session going on and whether there was another."""

    __slots__ = ("earlier", "last_us", "session_id")

    def __init__(self) -> None:
        self.last_us = 0
        self.session_id: str | None = None
        self.earlier = False

    def see(self, session_id: str | None, at_us: int) -> None:
        """Note an event that names its session."""
        if session_id != self.session_id:
            self.earlier = self.session_id is not None
            self.session_id = session_id
        if at_us > self.last_us:
            self.last_us = at_us


def enrich(click: Click, visit: Visit, at_us: int, session_gap_us: int) -> None:
    """Fill `session_id` and `user_type` of `click` in place and move `visit` on."""
    if click.session_id is None:
        going_on = visit.session_id is not None and at_us - visit.last_us <= session_gap_us
        click.session_id = visit.session_id if going_on else _new_session(click.user_id, at_us)
    visit.see(click.session_id, at_us)
    if click.user_type is None:
        click.user_type = "returning" if visit.earlier else "new"


def _new_session(user_id: str, at_us: int) -> str:
    return blake2b(f"{at_us}\0{user_id}".encode(), digest_size=12).hexdigest()
