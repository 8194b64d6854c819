"""``tendril bench``."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import tendril
from tendril.cli.output import err, out, show_json
from tendril.cli.parts import new_app

ROOT = Path(tendril.__file__).parent.parent  #: measurements are part of the source tree, not of the package
HEADLINE = "pipeline"

app = new_app()


class NoBenchmarks(Exception):
    """They are not installed with the package. One line."""


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="One of them; all when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure this machine: steps a second through everything, CPU by process, timer lag, and the floors below.

    Example: tendril bench pipeline --json
    """
    names = available()
    if name is not None and name not in names:
        raise typer.BadParameter(f"there is no benchmark {name!r}; there are {', '.join(names)}")
    merged: dict[str, Any] = {}
    for each in [name] if name else names:
        err.print(f"Measuring: {each}", style="dim")
        _merge(merged, measure(each))
    if as_json:
        show_json(merged)
        return
    for key, value in sorted(_flat(merged)):
        out.print(f"{key:<48} {value:,.3f}" if isinstance(value, float) else f"{key:<48} {value}", markup=False)


def available() -> list[str]:
    """The headline first, then by name. Raises NoBenchmarks."""
    found = sorted(
        path.stem
        for path in (ROOT / "bench").glob("*.py")
        if not path.stem.startswith("_") and "def run(" in path.read_text()
    )
    if not found:
        raise NoBenchmarks(f"there is no folder {ROOT / 'bench'}: run this in a copy of the project")
    return sorted(found, key=lambda name: (name != HEADLINE, name))


def measure(name: str) -> dict[str, Any]:
    """The result of one: a dict, nested or with dotted keys."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    run = importlib.import_module(f"bench.{name}").run
    result = asyncio.run(run()) if inspect.iscoroutinefunction(run) else run()
    return dict(result)


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        name = f"{prefix}{key}"
        found += _flat(inner, f"{name}.") if isinstance(inner, dict) else [(name, inner)]
    return found
