"""The commands that show what other engines are given."""

from pathlib import Path
from typing import Annotated

import typer

from shopstream.cli.app import lake_app
from shopstream.cli.printing import say
from shopstream.lake.model import Dialect


@lake_app.command("compile")
def lake_compile(
    dialect: Annotated[Dialect, typer.Option(help="Whose SQL to write.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="A file for each table, DIR/TABLE.sql."),
    ] = None,
) -> None:
    """Write each table's SQL for DuckDB, Trino (Athena) or Spark (Glue).

    It is the SELECT that makes a table of others, all in `ecommerce_analytics_db`.

    \b
    Examples:
      $ shopstream lake compile --dialect trino
      $ shopstream lake compile --dialect spark -o spark-sql
    """
    from shopstream.lake.dialect import compile_model
    from shopstream.lake.model import load_models

    models = load_models()
    if out:
        out.mkdir(parents=True, exist_ok=True)
    for model in models.values():
        sql = compile_model(model, dialect)
        if out:
            (out / f"{model.name}.sql").write_text(sql, "utf-8")
        else:
            print(f"-- {model.name}\n{sql}")
    if out:
        say(f"{len(models)} files in {out}")


@lake_app.command("catalog")
def lake_catalog(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write to this file.")
    ] = None,
) -> None:
    """Write the tables of what lands on AWS as JSON, of which Terraform makes them in Glue.

    \b
    Examples:
      $ shopstream lake catalog -o terraform/modules/catalog/catalog.json
    """
    from shopstream.lake.landed_tables import catalog_json

    text = catalog_json()
    if out:
        out.write_bytes(text)
        say(f"{out} is written")
    else:
        print(text.decode(), end="")
