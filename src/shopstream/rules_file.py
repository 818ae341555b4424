"""Where the rules come from: the user's file, or the defaults that come with the package."""

from importlib.resources import files
from pathlib import Path

from shopstream.domain.rules import RuleSet, parse_rules
from shopstream.errors import ConfigError

RULES_BYTES_MAX = 1024 * 1024


def default_rules() -> RuleSet:
    """The three rules that hold where there is no rules file."""
    return parse_rules(default_rules_text(), "default_rules.toml")


def default_rules_text() -> str:
    """The default rules as TOML, for users to copy and change."""
    return files("shopstream.domain").joinpath("default_rules.toml").read_text("utf-8")


def load_rules(path: Path) -> RuleSet:
    """The rules of the file at `path`; the defaults when there is none.

    Raises ConfigError naming file, rule and key, when it can't be read or something in it is wrong.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return default_rules()
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from None
    return rules_of(raw, str(path))


def rules_of(raw: bytes, place: str) -> RuleSet:
    """The rules in a file's bytes. Raises ConfigError naming `place`, rule and key."""
    if len(raw) > RULES_BYTES_MAX:
        raise ConfigError(f"{place}: {len(raw)} bytes are more than {RULES_BYTES_MAX}")
    try:
        return parse_rules(raw.decode("utf-8-sig"), place)
    except UnicodeDecodeError as e:
        raise ConfigError(f"{place}: not UTF-8 text: byte {e.start}") from None
