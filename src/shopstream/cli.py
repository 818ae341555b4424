"""The command `shopstream`: parse, call, print. What a command does is in the module it imports.

Imports of stages are inside their commands, so that `--help` and completion answer at once.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer

from shopstream.errors import ConfigError, ShopstreamError
from shopstream.events import Topic
from shopstream.leash import end_with
from shopstream.options import (
    BatchSize,
    Count,
    DataDir,
    DryRun,
    Files,
    Format,
    Host,
    InvalidPercent,
    KeyId,
    KeyName,
    KeyTopics,
    Limit,
    Live,
    Mapping,
    Port,
    Quiet,
    Rate,
    ReadKey,
    Seed,
    SetFields,
    Shards,
    Shown,
    SimulatedKind,
    SupervisedBy,
    TargetKb,
    To,
    UntilIdle,
    User,
    Where,
    WriteKey,
    pairs,
    topics_in,
)
from shopstream.settings import Settings, load_settings
from shopstream.terminal import (
    CLEARED,
    Rows,
    as_json,
    as_rows,
    as_table,
    check_rows,
    progress_bar,
    rule_rows,
    status_line,
)

app = typer.Typer(
    name="shopstream",
    help="A shop's events in; offers, alerts and tables you can trust out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
quarantine_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
rules_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
keys_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine", rich_help_panel=None)
app.add_typer(rules_app, name="rules")
app.add_typer(keys_app, name="keys")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 doesn't add up, 2 can't, 130 interrupted."""
    try:
        app()
    except ShopstreamError as e:
        _say(f"error: {e}")
        sys.exit(2)


# ---- running it


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Send simulated shoppers too.")] = False,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    shards: Shards = None,
) -> None:
    """Run the collector, the processors and the notifier until Ctrl-C.

    A stage that dies is started again. On a loopback address any write key is
    taken; on any other, make one first with `shopstream keys add`.

    \b
    Examples:
      $ shopstream up --demo
      $ shopstream up --host 0.0.0.0 --port 8080 --data-dir /var/lib/shopstream
    """
    from shopstream.monitoring import Standing
    from shopstream.supervisor import up as run_all

    def show(standing: Standing) -> None:
        if sys.stderr.isatty():
            width = get_terminal_size().columns - 1
            line = status_line(standing)[:width]
            print(f"{CLEARED}{line}", end="", file=sys.stderr, flush=True)

    found = _settings(data_dir, host=host, port=port, shards=shards)
    run_all(found, demo=demo, say=_notice, show=show)


@app.command()
def collector(
    data_dir: DataDir = None, host: Host = None, port: Port = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the collector alone: HTTP in, log on disk.

    \b
    Examples:
      $ shopstream collector --port 8080
    """
    from shopstream.collector import run_collector

    end_with(supervised_by)
    run_collector(_settings(data_dir, host=host, port=port))


@app.command()
def processor(
    shard: Annotated[int, typer.Option(min=0, help="Which shard, from 0.")] = 0,
    until_idle: UntilIdle = False,
    data_dir: DataDir = None,
    supervised_by: SupervisedBy = 0,
) -> None:
    """Run one processor alone: log in, tables, offers and alerts out.

    \b
    Examples:
      $ shopstream processor --shard 0
      $ shopstream processor --until-idle
    """
    from shopstream.processor import run_processor

    end_with(supervised_by)
    run_processor(_settings(data_dir), shard, until_idle=until_idle)


@app.command()
def notifier(
    until_idle: UntilIdle = False, data_dir: DataDir = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the notifier alone: alerts out to where `notify` says.

    \b
    Examples:
      $ shopstream notifier
      $ shopstream notifier --until-idle
    """
    from shopstream.notify import run_notifier

    end_with(supervised_by)
    run_notifier(_settings(data_dir), until_idle=until_idle, write=_alert)


@app.command()
def status(data_dir: DataDir = None, format: Format = None) -> None:
    """Show each stage: whether it runs, how fast, how far behind.

    \b
    Examples:
      $ shopstream status
      $ shopstream status --format json
    """
    from shopstream.monitoring import status as status_of

    _show(status_of(_settings(data_dir)), format)


@app.command()
def check(data_dir: DataDir = None, format: Format = None) -> None:
    """Prove that received = accepted + duplicate + quarantined, everywhere.

    Exits 1 and shows the difference where anything doesn't add up.

    \b
    Examples:
      $ shopstream check
      $ shopstream check --format json
    """
    from shopstream.ledger import check as check_ledger

    report = check_ledger(_settings(data_dir))
    _show(report, format, check_rows)
    for difference in report.differences:
        _say(f"difference: {difference}")
    if not report.balanced:
        raise typer.Exit(1)


@app.command()
def doctor(data_dir: DataDir = None, format: Format = None) -> None:
    """Look for what could go wrong here and say what to do about it.

    \b
    Examples:
      $ shopstream doctor
    """
    from shopstream.doctor import diagnose

    _show(diagnose(_settings(data_dir)), format)


@app.command()
def settings(data_dir: DataDir = None, format: Format = None) -> None:
    """List all settings: name, value in force here, default and meaning.

    \b
    Examples:
      $ shopstream settings
      $ shopstream settings --format json
    """
    from shopstream.settings import setting_table, show

    found = _settings(data_dir)
    rows = [
        {
            "name": s.name,
            "value": show(getattr(found, s.name)),
            "default": s.default,
            "help": s.help,
        }
        for s in setting_table()
    ]
    _show(rows, format, columns=("name", "value", "help"))


# ---- events in


@app.command()
def simulate(
    kind: SimulatedKind,
    count: Count = 1_000,
    rate: Rate = 0,
    batch_size: BatchSize = 500,
    target_kb: TargetKb = 0,
    seed: Seed = 1,
    invalid_percent: InvalidPercent = 0,
    to: To = None,
    write_key: WriteKey = "",
    quiet: Quiet = False,
    data_dir: DataDir = None,
    supervised_by: SupervisedBy = 0,
) -> None:
    """Send believable events of a made-up shop.

    \b
    Examples:
      $ shopstream simulate shop --count 5000 --seed 7
      $ shopstream simulate clicks --count 26000 --target-kb 200 --to clicks.ndjson
      $ shopstream simulate orders --rate 50 --to http://localhost:8080
    """
    from shopstream.simulator import run_simulation
    from shopstream.stages import settle

    end_with(supervised_by)
    found = _settings(data_dir)
    with progress_bar("simulating") as told:
        done = run_simulation(
            found,
            kind,
            count=count,
            rate=rate,
            batch_size=batch_size,
            target_kb=target_kb,
            seed=seed,
            invalid_percent=invalid_percent,
            to=to,
            write_key=write_key,
            progress=told,
        )
    if not quiet:
        _say(str(done))
    if to is None:
        settle(found, direct=True)


@app.command()
def load(files: Files, mapping: Mapping, live: Live = False, data_dir: DataDir = None) -> None:
    """Load files of history. Loading twice adds nothing; an interrupted load goes on.

    Bundled mappings: rees46, uci_online_retail, northwind_products.

    \b
    Examples:
      $ shopstream load 2019-Oct.csv.gz --mapping rees46
      $ shopstream load export.parquet --mapping mine.toml --live
    """
    from shopstream.loader import load_files
    from shopstream.stages import settle

    found = _settings(data_dir)
    with progress_bar("loading") as told:
        report = load_files(found, files, mapping, live=live, on_progress=told)
    _say(str(report))
    settle(found, direct=report.direct)


@app.command()
def replay(
    where: Where = None,
    set_fields: SetFields = None,
    dry_run: DryRun = False,
    live: Live = False,
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """Send quarantined events again, mended or as they were. Twice is as good as once.

    \b
    Examples:
      $ shopstream replay --where reason=currency --set currency=EUR --dry-run
      $ shopstream replay --where topic=orders --where reason=total
    """
    from shopstream.quarantine import replay as replay_rejections

    done = replay_rejections(
        _settings(data_dir),
        pairs(where, "--where"),
        pairs(set_fields, "--set"),
        dry_run=dry_run,
        live=live,
    )
    _show(done, format)


# ---- looking


@app.command()
def offers(
    user: User,
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """List the offers made to a user, newest first, with their reasons.

    \b
    Examples:
      $ shopstream offers u42
      $ shopstream offers u42 --format json
    """
    from shopstream.lookups import offers_of

    _show(offers_of(_settings(data_dir), user), format)


@app.command()
def schema(topic: Annotated[Topic, typer.Argument(help="The topic.")]) -> None:
    """Print the JSON Schema of a topic's events.

    \b
    Examples:
      $ shopstream schema clicks > click.schema.json
    """
    from shopstream.schemas import schema_of

    print(as_json(schema_of(topic)))


@quarantine_app.callback()
def quarantine(context: typer.Context, data_dir: DataDir = None, format: Format = None) -> None:
    """Show what was not accepted and why, by topic and reason.

    \b
    Examples:
      $ shopstream quarantine
      $ shopstream quarantine list --where reason=price
      $ shopstream quarantine show ID
      $ shopstream quarantine export --where topic=orders > rejected.ndjson
    """
    if context.invoked_subcommand is None:
        from shopstream.quarantine import summary

        _show(summary(_settings(data_dir)), format)


@quarantine_app.command("list")
def quarantine_list(
    where: Where = None, limit: Limit = 20, data_dir: DataDir = None, format: Format = None
) -> None:
    """List rejections, newest first.

    \b
    Examples:
      $ shopstream quarantine list --where topic=orders --limit 5
    """
    from shopstream.quarantine import list_rejections

    _show(list_rejections(_settings(data_dir), pairs(where, "--where"), limit=limit), format)


@quarantine_app.command("show")
def quarantine_show(
    id: Annotated[str, typer.Argument(help="The rejection's id, from `quarantine list`.")],
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """Show one rejection: all its failures and the raw bytes.

    \b
    Examples:
      $ shopstream quarantine show 0-1234
    """
    from shopstream.quarantine import show_rejection

    _show(show_rejection(_settings(data_dir), id), format)


@quarantine_app.command("export")
def quarantine_export(where: Where = None, data_dir: DataDir = None) -> None:
    """Write rejections as NDJSON, one a line, raw bytes in base64.

    \b
    Examples:
      $ shopstream quarantine export --where reason=json > rejected.ndjson
    """
    from shopstream.quarantine import export_rejections

    for line in export_rejections(_settings(data_dir), pairs(where, "--where")):
        print(line)


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
    from shopstream.rules_file import load_rules

    if file is not None and not file.exists():
        raise ConfigError(f"{file}: there is no such file")
    _show(load_rules(file or _settings(data_dir).rules_path).rules, format, rule_rows)


@rules_app.command("explain")
def rules_explain(
    user: User,
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """Say for each rule why it made the user an offer or didn't.

    \b
    Examples:
      $ shopstream rules explain u42
    """
    from shopstream.lookups import explain

    _show(explain(_settings(data_dir), user), format)


@keys_app.callback()
def keys() -> None:
    """Make, list and revoke the keys that senders and readers use.

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys list
    """


@keys_app.command("add")
def keys_add(
    name: KeyName = "",
    topics: KeyTopics = "clicks,orders,carts,stock",
    read: ReadKey = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys add --name crm --read
    """
    from shopstream.keys import add_key

    key, secret = add_key(
        _settings(data_dir).data_dir,
        kind="read" if read else "write",
        now=datetime.now(UTC),
        topics=topics_in(topics),
        name=name,
    )
    _say(f"key {key.id}; keep what follows, it is shown this once:")
    print(secret)


@keys_app.command("list")
def keys_list(data_dir: DataDir = None, format: Format = None) -> None:
    """List the keys, the revoked ones too.

    \b
    Examples:
      $ shopstream keys list
    """
    from shopstream.keys import list_keys

    rows = as_rows(list_keys(_settings(data_dir).data_dir))
    _show([{k: v for k, v in row.items() if k != "sha256"} for row in rows], format)


@keys_app.command("revoke")
def keys_revoke(id: KeyId, data_dir: DataDir = None) -> None:
    """Take a key back; a running collector refuses it within seconds.

    \b
    Examples:
      $ shopstream keys revoke 1f2e3d4c
    """
    from shopstream.keys import revoke_key

    revoked = revoke_key(_settings(data_dir).data_dir, id, now=datetime.now(UTC))
    _say(f"revoked {revoked.id}")


# ---- what the commands share


def _settings(data_dir: Path | None, **overrides: Any) -> Settings:
    return load_settings({"data_dir": data_dir, **overrides})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _notice(text: str) -> None:
    """A line in place of the status line, which comes again below it."""
    print(f"{CLEARED}{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def _alert(text: str) -> None:
    print(f"{CLEARED}{text}" if sys.stdout.isatty() else text, flush=True)


def _show(
    value: Any,
    format: Shown | None,
    rows: Callable[[Any], Rows] = as_rows,
    columns: Sequence[str] = (),
) -> None:
    """Print a result as JSON, or as a table of what `rows` makes of it."""
    if format == "json" or (format is None and not sys.stdout.isatty()):
        print(as_json(value))
        return
    from rich.console import Console

    Console().print(as_table(rows(value), columns))
