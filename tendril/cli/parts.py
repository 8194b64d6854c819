"""What every module of the command line begins with."""

from __future__ import annotations

import typer


def new_app(text: str | None = None) -> typer.Typer:
    """An app for one command, or, with a text, for a group of them."""
    return typer.Typer(
        help=text, no_args_is_help=text is not None, add_completion=False, pretty_exceptions_enable=False
    )
