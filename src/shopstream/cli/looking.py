"""Commands that show offers, schemas and rules."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from shopstream.cli.app import app, rules_app
from shopstream.cli.options import DataDir, EngineName, Format, User
from shopstream.cli.printing import say, settings_of, show
from shopstream.cli.tables import as_json, offer_rows, rule_rows
from shopstream.errors import ConfigError
from shopstream.events import Topic


@app.command()
def offers(
    user: User,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """List the offers made to a user, newest first, with their reasons.

    \b
    Examples:
      $ shopstream offers u42
      $ shopstream offers u42 --format json
      $ shopstream offers u42 --engine aws
    """
    from shopstream.lookups import offers_of

    found = offers_of(settings_of(data_dir, engine=engine), user)
    show(found, format, offer_rows)
    if not found:
        say(f"no offers yet; `shopstream rules explain {quote(user)}` says why")


@app.command()
def schema(topic: Annotated[Topic, typer.Argument(help="The topic.")]) -> None:
    """Print the JSON Schema of a topic's events.

    \b
    Examples:
      $ shopstream schema clicks > click.schema.json
    """
    from shopstream.schemas import schema_of

    print(as_json(schema_of(topic)))


@rules_app.callback()
def rules() -> None:
    """Check the offer rules; explain why a user got an offer or didn't.

    \b
    Examples:
      $ shopstream rules check
      $ shopstream rules explain u42
    """


@rules_app.command("check")
def rules_check(
    file: Annotated[Path | None, typer.Argument(help="By default the rules in force.")] = None,
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """Check a rules file; every fault is named with its file, rule and key.

    \b
    Examples:
      $ shopstream rules check
      $ shopstream rules check new-rules.toml
    """
    from shopstream.domain.rules import as_declared
    from shopstream.rules_file import load_rules, rules_in_force

    if file is not None and not file.exists():
        raise ConfigError(f"{file}: there is no such file")
    rules = rules_in_force(settings_of(data_dir)) if file is None else load_rules(file)
    declared = [as_declared(rule) for rule in rules.rules]
    show(declared, format, lambda _: rule_rows(rules.rules))


@rules_app.command("explain")
def rules_explain(
    user: User,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """Say for each rule why it made the user an offer or didn't.

    \b
    Examples:
      $ shopstream rules explain u42
    """
    from shopstream.lookups import explain

    found = explain(settings_of(data_dir, engine=engine), user)
    show(found, format, columns=("rule", "key", "outcome", "text"))
    if not found:
        say(f"no events of user {quote(user)} are known that a rule looks at")
