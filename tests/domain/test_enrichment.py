"""What a click leaves out: its session and whether its user came before."""

from datetime import UTC, datetime

from shopstream.domain.enrichment import Visit, enrich
from shopstream.events import Click

MINUTE_US = 60_000_000
GAP_US = 30 * MINUTE_US


def click(user_id: str = "u1", session_id: str | None = None) -> Click:
    at = datetime(2025, 11, 21, tzinfo=UTC)
    return Click(user_id=user_id, event_type="view", timestamp=at, session_id=session_id)


def seen(visit: Visit, at_us: int, session_id: str | None = None, user_id: str = "u1") -> Click:
    given = click(user_id, session_id)
    enrich(given, visit, at_us, GAP_US)
    return given


def test_the_first_click_starts_a_session_of_a_new_user() -> None:
    found = seen(Visit(), MINUTE_US)
    assert found.session_id
    assert found.user_type == "new"


def test_a_session_goes_on_until_a_silence_longer_than_the_gap() -> None:
    visit = Visit()
    first = seen(visit, 0)
    second = seen(visit, GAP_US)
    third = seen(visit, 2 * GAP_US + 1)
    assert second.session_id == first.session_id
    assert third.session_id != first.session_id
    assert [c.user_type for c in (first, second, third)] == ["new", "new", "returning"]


def test_a_late_click_belongs_to_the_session_going_on() -> None:
    visit = Visit()
    first = seen(visit, 100 * MINUTE_US)
    late = seen(visit, 50 * MINUTE_US)
    assert late.session_id == first.session_id
    assert seen(visit, 130 * MINUTE_US).session_id == first.session_id


def test_what_the_sender_says_is_kept() -> None:
    visit = Visit()
    given = click(session_id="theirs")
    given.user_type = "returning"
    enrich(given, visit, 0, GAP_US)
    assert (given.session_id, given.user_type) == ("theirs", "returning")


def test_a_click_without_a_session_joins_the_one_that_the_sender_named() -> None:
    visit = Visit()
    seen(visit, 0, "theirs")
    assert seen(visit, MINUTE_US).session_id == "theirs"


def test_another_named_session_makes_the_user_a_returning_one() -> None:
    visit = Visit()
    assert seen(visit, 0, "a").user_type == "new"
    assert seen(visit, 1, "a").user_type == "new"
    assert seen(visit, 2, "b").user_type == "returning"
    assert seen(visit, 3, "b").user_type == "returning"


def test_sessions_made_are_the_same_every_time_and_differ_between_users() -> None:
    assert seen(Visit(), 7).session_id == seen(Visit(), 7).session_id
    assert seen(Visit(), 7).session_id != seen(Visit(), 8).session_id
    assert seen(Visit(), 7).session_id != seen(Visit(), 7, user_id="u2").session_id
