"""What every module of the command line begins with."""

from __future__ import annotations

import typer


def new_app() -> typer.Typer:
    """For one command."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def new_group() -> typer.Typer:
    """For several commands below one word; the text of its callback is the help."""
    return typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
