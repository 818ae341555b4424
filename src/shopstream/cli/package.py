"""Commands that make what is deployed elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from shopstream.cli.app import package_app
from shopstream.cli.printing import say
from shopstream.errors import ConfigError


@package_app.callback()
def package() -> None:
    """Make what is deployed elsewhere.

    \b
    Examples:
      $ shopstream package lambda -o shopstream-lambda.zip
      $ shopstream package glue -o shopstream-glue.zip
    """


@package_app.command("lambda")
def package_lambda(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the zip is put.")] = Path(
        "shopstream-lambda.zip"
    ),
    arch: Annotated[str, typer.Option(help="`arm64` or `x86_64`.")] = "arm64",
    python: Annotated[
        str, typer.Option(help="Lambda's runtime: `3.11`, `3.12` or `3.13`.")
    ] = "3.13",
) -> None:
    """Build the zip that all functions on AWS run; the same release makes the same bytes.

    Libraries are fetched with pip, by their hashes. Run it with the Python of the runtime where
    you can: bytecode is then put in, and a cold start is a second shorter.

    \b
    Examples:
      $ shopstream package lambda
      $ shopstream package lambda -o build/lambda.zip --arch x86_64 --python 3.12
    """
    from shopstream.packaging import ARCHS, build_lambda

    known = next((found for found in ARCHS if found == arch), None)
    if known is None:
        raise ConfigError(f"--arch {arch}: is not one of {', '.join(ARCHS)}")
    built = build_lambda(output, arch=known, python=python)
    print(f"{built.path}  {built.size_bytes:,} bytes  sha256 {built.sha256}")
    if not built.bytecode:
        say(f"no bytecode in it: that needs this command to be run by Python {python}")


@package_app.command("glue")
def package_glue(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the zip is put.")] = Path(
        "shopstream-glue.zip"
    ),
) -> None:
    """Build the zip in which the Glue job finds this package; say what else it needs.

    \b
    Examples:
      $ shopstream package glue -o build/glue.zip
    """
    from shopstream.packaging import build_glue, glue_libraries

    built = build_glue(output)
    print(f"{built.path}  {built.size_bytes:,} bytes  sha256 {built.sha256}")
    say(f"--additional-python-modules {','.join(glue_libraries())}")
