"""The list of commands and the group that loads them."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

#: Command -> module with its ``app``, in the order of the help.
MODULES = {
    "up": "tendril.cli.up",
    "run": "tendril.cli.run",
    "doctor": "tendril.cli.doctor",
    "backup": "tendril.cli.backup",
    "restore": "tendril.cli.restore",
    "member": "tendril.cli.member",
    "api-key": "tendril.cli.api_key",
    "leads": "tendril.cli.lead_data",  # and tendril.cli.leads
    "events": "tendril.cli.events",
    "views": "tendril.cli.views",
    "dead": "tendril.cli.dead",
    "simulate": "tendril.cli.simulate",
    "backtest": "tendril.cli.backtest",
    "bench": "tendril.cli.bench",
}


class LazyGroup(TyperGroup):
    """A group whose commands are loaded when they are asked for: a service's start need not load all the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command, in order."""
        del ctx
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None when there is none of that name."""
        del ctx
        module = MODULES.get(cmd_name)
        if module is None:
            return None
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def tendril() -> None:
    """Lead nurturing that loses nothing and sends nothing twice.

    Example: tendril up --demo
    """
