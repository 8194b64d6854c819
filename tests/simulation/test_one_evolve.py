"""There is one way from events to states and one from messages to events: live handling, replay, time travel, dry run,
forecast and backtest all take it.

The source itself is read: whoever folds events or decides a message outside of the modules named here fails the test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import services

ROOT = Path(services.__file__).parent.parent
DOMAIN = "services/enrollment/domain/"
#: Who folds: a unit of work its own events, and what is read from the log. Everything else asks these.
FOLDERS = {f"{DOMAIN}work.py", "services/enrollment/states.py"}
#: Who decides a message: the committer's round, a question about an order, and the worlds in memory.
DECIDERS = {
    "services/enrollment/round.py",
    "services/enrollment/foresight.py",
    f"{DOMAIN}memory_world.py",
    "services/enrollment/simulation/simulator.py",
    "services/enrollment/simulation/crowd.py",
}
FOLDING = {"evolve", "evolve_any"}
#: Nothing can be decided or recorded without a unit of work.
DECIDING = {"handle", "Work"}


def modules() -> Iterator[tuple[str, str]]:
    """Path and text of all that is shipped."""
    for part in ("services", "shared", "tendril"):
        for path in (ROOT / part).rglob("*.py"):
            yield str(path.relative_to(ROOT)), path.read_text()


def of_the_domain(module: str | None) -> bool:
    return (module or "").startswith("services.enrollment.domain")


def taken(text: str, wanted: set[str]) -> set[str]:
    """Which of these names a module takes from the domain: imported, renamed, or reached through a module of it."""
    tree = ast.parse(text)
    through: set[str] = set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and of_the_domain(node.module):
            found |= {each.name for each in node.names if each.name in wanted}
            through |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Import):
            through |= {each.asname or each.name for each in node.names if of_the_domain(each.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in wanted and ast.unparse(node.value) in through:
            found.add(node.attr)
    return found


def test_nothing_else_folds_events() -> None:
    outside = {path for path, text in modules() if not path.startswith(DOMAIN) and taken(text, FOLDING)}
    assert outside == FOLDERS - {f"{DOMAIN}work.py"}
    inside = {path for path, text in modules() if path.startswith(DOMAIN) and "evolve_any(" in text}
    assert inside == {f"{DOMAIN}work.py", f"{DOMAIN}evolving.py"}


def test_nothing_else_decides() -> None:
    assert {path for path, text in modules() if "handle" in taken(text, DECIDING)} == DECIDERS
    assert [path for path, text in modules() if not path.startswith(DOMAIN) and "Work" in taken(text, DECIDING)] == []


def test_only_the_domain_says_what_an_event_does_to_a_state() -> None:
    for path, text in modules():
        names = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
        assert path.startswith(DOMAIN) or not names & FOLDING, path


@pytest.mark.parametrize(
    "text",
    [
        "from services.enrollment.domain.enrollment_history import evolve",
        "from services.enrollment.domain.evolving import evolve_any as fold",
        "from services.enrollment.domain import enrollment_history\nenrollment_history.evolve(None, event, at)",
        "from services.enrollment.domain import enrollment_history as h\nfor e in es: s = h.evolve(s, e, at)",
        "import services.enrollment.domain.handling\nservices.enrollment.domain.handling.evolve_any()",
    ],
)
def test_a_second_fold_would_be_found(text: str) -> None:
    assert taken(text, FOLDING)
