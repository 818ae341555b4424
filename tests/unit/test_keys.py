"""Keys: shown once, hashed at rest, revocable, never opening a door by going away."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shopstream.errors import ConfigError
from shopstream.keys import KEYS_FILE, KeyRing, add_key, list_keys, revoke_key

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_new_key_is_found_by_its_secret_and_kept_only_as_a_hash(tmp_path: Path) -> None:
    key, secret = add_key(tmp_path, kind="write", now=NOW, topics=["clicks"], name="web")
    assert KeyRing(tmp_path).find(secret.encode()) == key
    assert secret.encode() not in (tmp_path / KEYS_FILE).read_bytes()
    assert (key.topics, key.name, key.live) == (["clicks"], "web", True)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    add_key(tmp_path, kind="read", now=NOW)
    add_key(tmp_path, kind="write", now=NOW)
    assert stat.S_IMODE((tmp_path / KEYS_FILE).stat().st_mode) == 0o600


def test_a_running_ring_takes_up_new_keys_and_drops_revoked_ones(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    key, secret = add_key(tmp_path, kind="write", now=NOW)
    assert ring.find(secret.encode()) is None
    ring.refresh()
    assert ring.find(secret.encode()) == key
    revoke_key(tmp_path, key.id, now=NOW)
    ring.refresh()
    assert ring.find(secret.encode()) is None


def test_revoking_the_last_key_does_not_open_the_collector(tmp_path: Path) -> None:
    key, _ = add_key(tmp_path, kind="write", now=NOW)
    revoke_key(tmp_path, key.id, now=NOW)
    ring = KeyRing(tmp_path)
    assert ring.has("write")
    assert not ring.has("read")
    assert [k.live for k in list_keys(tmp_path)] == [False]


def test_a_file_that_vanishes_or_breaks_leaves_the_keys_in_force(tmp_path: Path) -> None:
    key, secret = add_key(tmp_path, kind="write", now=NOW)
    ring = KeyRing(tmp_path)
    (tmp_path / KEYS_FILE).unlink()
    ring.refresh()
    assert ring.find(secret.encode()) == key
    (tmp_path / KEYS_FILE).write_text("{")
    ring.refresh()
    assert ring.find(secret.encode()) == key


def test_a_wrong_secret_finds_nothing(tmp_path: Path) -> None:
    add_key(tmp_path, kind="write", now=NOW)
    ring = KeyRing(tmp_path)
    for secret in (b"", b"ssw_", b"\xff" * 40, b"x" * 100_000):
        assert ring.find(secret) is None


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown topic 'click'"):
        add_key(tmp_path, kind="write", now=NOW, topics=["click"])  # type: ignore[list-item] # the mistake
    with pytest.raises(ConfigError, match="at least one topic"):
        add_key(tmp_path, kind="write", now=NOW, topics=[])
    with pytest.raises(ConfigError, match="no key with id 'abc'"):
        revoke_key(tmp_path, "abc", now=NOW)
    (tmp_path / KEYS_FILE).write_text("[]")
    with pytest.raises(ConfigError, match=r"keys\.json: not a readable file"):
        list_keys(tmp_path)
