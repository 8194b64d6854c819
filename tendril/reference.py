"""The reference pages of commands, settings and permissions, made from the code: the same code gives the same bytes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import typer
from pydantic_core import PydanticUndefined

from services.gateway.access import PERMISSIONS, ROOM_KINDS, WIDE_ROOMS, room_for
from services.gateway.app import create_app, permissions
from shared.settings import Settings, variable_of
from tendril.cli.commands import app

MADE = "<!-- Made by `make docs` from the code; change it there. -->\n\n"


def commands_page() -> str:
    """Every command with its help, arguments and options."""
    parts = ["# Commands\n\n", MADE, "Exit status is 0 only on success, 1 for what went wrong, 2 for a wrong call.\n\n"]
    root = typer.main.get_command(app)
    for words, command in _walk(root, ("tendril",)):
        if getattr(command, "list_commands", None) is None:
            parts.append(_section(words, command))
    return "".join(parts).rstrip("\n") + "\n"


def settings_page() -> str:
    """Every environment variable."""
    lines = ["# Settings", "", MADE.strip(), "", "| variable | default | expected |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        expected = str(field.description).replace("|", "\\|")
        lines.append(f"| `{variable_of(name)}` | {default} | {expected} |")
    notes = (
        "An empty variable counts as not set. A wrong or missing setting stops the start with one line that names it. "
        "`tendril up` starts RabbitMQ and MongoDB where `TENDRIL_AMQP_URL` and `TENDRIL_MONGO_URL` are not set, and "
        "makes `TENDRIL_MASTER_KEY` and `TENDRIL_SECRET_KEYS` once under `TENDRIL_HOME`."
    )
    return "\n".join([*lines, "", notes, ""])


def permissions_page() -> str:
    """Every route of the API and which roles may use it."""
    lines = [
        "# Roles and permissions",
        "",
        MADE.strip(),
        "",
        "What a member may do follows from the role. An API key may do what its role may, narrowed to its scopes",
        "(names of permissions) when it has any. Nobody gives away more than they have themselves.",
        "",
        f"| route | permission | {' | '.join(PERMISSIONS)} |",
        f"|---|---|{'---|' * len(PERMISSIONS)}",
    ]
    for method, path, permission in permissions(create_app(None)):
        marks = ["yes" if permission is None or permission in granted else "" for granted in PERMISSIONS.values()]
        lines.append(f"| `{method} {path}` | {permission or 'none'} | {' | '.join(marks)} |")
    lines += ["", f"| room of the live connection | permission | {' | '.join(PERMISSIONS)} |"]
    lines.append(f"|---|---|{'---|' * len(PERMISSIONS)}")
    for kind in ROOM_KINDS:
        room = room_for("demo", kind if kind in WIDE_ROOMS else f"{kind}:{UUID(int=0)}")
        assert room is not None
        marks = ["yes" if room.permission in granted else "" for granted in PERMISSIONS.values()]
        name = kind if kind in WIDE_ROOMS else f"{kind}:<id>"
        lines.append(f"| `{name}` | {room.permission} | {' | '.join(marks)} |")
    return "\n".join([*lines, ""])


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _walk(command.get_command(None, name), (*words, name))


def _section(words: tuple[str, ...], command: Any) -> str:
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    parts = [f"## {' '.join(words)}\n\n{text.strip()}\n\n"]
    if example:
        parts.append(f"    {example.strip()}\n\n")
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        parts += ["| parameter | default | meaning |\n|---|---|---|\n", *rows, "\n"]
    return "".join(parts)


def _parameter(parameter: Any) -> str:
    option = parameter.param_type_name == "option"
    name = (
        ", ".join([*parameter.opts, *parameter.secondary_opts])
        if option
        else (parameter.metavar or parameter.name.upper())
    )
    given = parameter.default
    default = "required" if parameter.required else "" if given in (None, False, "") else f"`{given}`"
    return f"| `{name}` | {default} | {(parameter.help or '').replace('|', chr(92) + '|')} |\n"
