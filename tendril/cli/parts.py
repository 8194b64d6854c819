"""What every module of the command line begins with, and options that several read alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer

from shared.ids import MOST_ORGANIZATION, ORGANIZATION


def new_app() -> typer.Typer:
    """For one command."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def new_group() -> typer.Typer:
    """For several commands below one word; the text of its callback is the help."""
    return typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def moment(text: str | None) -> datetime | None:
    """A time given as an option; UTC when no zone is given. Raises BadParameter."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"a time reads 2026-11-20T09:00:00Z, got {text!r}") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def organization_word(text: str) -> str:
    """The short word of an organization, as a lead's message must name it. Raises BadParameter."""
    if len(text) > MOST_ORGANIZATION or not re.fullmatch(ORGANIZATION, text):
        raise typer.BadParameter(
            f"an organization goes by a short word of small letters, digits, - and _ (such as acme), got {text!r}"
        )
    return text
