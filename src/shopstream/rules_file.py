"""Where the rules come from: the user's file, or the defaults that come with the package."""

from importlib.resources import files
from pathlib import Path

from shopstream.domain.rules import RuleSet, parse_rules
from shopstream.errors import ConfigError
from shopstream.settings import Settings

RULES_BYTES_MAX = 1024 * 1024


def default_rules() -> RuleSet:
    """The three rules that hold where nobody wrote others."""
    return parse_rules(default_rules_text(), "default_rules.toml")


def default_rules_text() -> str:
    """The default rules as TOML, for users to copy and change."""
    return files("shopstream.domain").joinpath("default_rules.toml").read_text("utf-8")


def rules_in_force(settings: Settings) -> RuleSet:
    """The rules of the file that the setting `rules` names; without it those of `rules.toml` in
    the data directory, and the defaults when there is none.

    Raises ConfigError as `load_rules` does, and naming the setting where its file isn't there: then
    no offer is made by rules that nobody chose.
    """
    path = settings.rules_path
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if settings.rules is None:
            return default_rules()
        raise ConfigError(
            f"setting rules: there is no file {path}; write it, or leave the setting out for"
            f" {settings.data_dir / 'rules.toml'} or else the default rules"
        ) from None
    except OSError as e:
        raise _unreadable(path, e) from None
    return rules_of(raw, str(path))


def load_rules(path: Path) -> RuleSet:
    """The rules of the file at `path`.

    Raises ConfigError naming file, rule and key, when it can't be read or something in it is wrong.
    """
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise _unreadable(path, e) from None
    return rules_of(raw, str(path))


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be read: {error.strerror}")


def rules_of(raw: bytes, place: str) -> RuleSet:
    """The rules in a file's bytes. Raises ConfigError naming `place`, rule and key."""
    if len(raw) > RULES_BYTES_MAX:
        raise ConfigError(f"{place}: {len(raw)} bytes are more than {RULES_BYTES_MAX}")
    try:
        return parse_rules(raw.decode("utf-8-sig"), place)
    except UnicodeDecodeError as e:
        raise ConfigError(f"{place}: not UTF-8 text: byte {e.start}") from None
