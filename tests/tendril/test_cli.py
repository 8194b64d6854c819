"""The command line as a person meets it: help with an example everywhere, one line for what can be mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tendril.cli.commands import app
from tendril.cli.failures import one_line
from tendril.embedded.errors import EmbeddedError
from tendril.embedded.ports import free_port


def every_command() -> Iterator[tuple[str, ...]]:
    """All paths of words that name a command or a group."""
    root = typer.main.get_command(app)

    def walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        names = getattr(command, "list_commands", None)
        if names is not None:
            for name in names(None):
                yield from walk(command.get_command(None, name), (*words, name))  # type: ignore[attr-defined]  # a group

    yield from walk(root, ())


COMMANDS = list(every_command())


def tendril(*words: str, home: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the program with an environment of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENDRIL_")}
    return subprocess.run(
        [sys.executable, "-m", "tendril", *words],
        env={**kept, "TENDRIL_HOME": str(home), "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_command_of_the_contract_is_there() -> None:
    names = {" ".join(words) for words in COMMANDS}
    assert names >= {
        "up", "run", "doctor", "member add", "api-key create", "leads import", "events tail", "events show",
        "events replay", "views list", "views rebuild", "views verify", "dead list", "dead show", "dead requeue",
        "dead drop", "simulate", "backtest", "bench",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "tendril")
def test_help_has_an_example(words: tuple[str, ...]) -> None:
    """In process: a start of the interpreter for each would only cost time."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.get_command(None, word)  # type: ignore[attr-defined]  # a group
    assert "Example: tendril" in (command.help or "")


def test_help_is_printed_with_status_zero(tmp_path: Path) -> None:
    done = tendril("events", "replay", "--help", home=tmp_path)
    assert done.returncode == 0
    assert "Example: tendril events replay" in done.stdout


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (("run", "tracker"), {"TENDRIL_GATEWAY_PORT": "many"}, "TENDRIL_GATEWAY_PORT is wrong: got 'many'"),
        (("run", "gateway"), {}, "is not set: expected"),
        (("views", "list"), {}, "TENDRIL_MONGO_URL is not set"),
        (("events", "tail"), {}, "TENDRIL_AMQP_URL is not set"),
        (("simulate", "S"), {}, "TENDRIL_MONGO_URL is not set"),
        (("member", "add", "--organization", "a", "--email", "a@b.example"), {}, "(start it with tendril up"),
        (("dead", "list"), {"TENDRIL_MONGO_URL": "mongodb://127.0.0.1:1/x"}, "MongoDB: 127.0.0.1:1"),
        (("events", "tail"), {"TENDRIL_AMQP_URL": "amqp://guest:secret@127.0.0.1:1/"}, "RabbitMQ does not answer"),
    ],
)
def test_what_can_be_mended_is_one_line(tmp_path: Path, words: tuple[str, ...], env: dict[str, str], said: str) -> None:
    done = tendril(*words, home=tmp_path, env=env)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "secret" not in done.stderr


def test_a_file_that_names_nobody_is_refused_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("crm_id,first_name\n7,Ada\n8,Bob\n", encoding="utf-8")
    done = tendril("leads", "import", str(file), "--organization", "acme", home=tmp_path)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert "no column is called email or phone; nothing was imported" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "nothing"),
        ("run", "tracker", "--roles", "clerk"),
        ("views", "verify"),
        ("views", "rebuild", "nothing"),
        ("dead", "requeue"),
        ("events", "replay", "--target", "enrollment.leads"),
        ("events", "replay", "--target", "-", "--from", "9", "--to", "3"),
        ("member", "add", "--organization", "a", "--email", "a@b.example", "--password", "short"),
        ("member", "add", "--organization", "Acme Inc", "--email", "a@b.example"),
        ("api-key", "create", "--organization", "Acme Inc", "--name", "crm"),
        ("api-key", "create", "--organization", "acme", "--name", "crm", "--scopes", "leads:wrote"),
        ("bench", "nothing"),
        ("simulate", "S", "--size", "5", "--status", "New"),
        ("simulate", "S", "--open", "2"),
        ("simulate", "S", "--from", "tomorrow"),
        ("backtest", "S"),
        ("backtest", "S", "--version", "1", "--definition", "changed.yaml"),
        ("backtest", "S", "--definition", "not-there.yaml"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = tendril(*words, home=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_doctor_says_what_is_missing(tmp_path: Path) -> None:
    done = tendril(
        "doctor",
        "--json",
        home=tmp_path,
        env={
            "TENDRIL_AMQP_URL": "amqp://guest:hidden@127.0.0.1:1/",
            "TENDRIL_MONGO_URL": "mongodb://127.0.0.1:1/x",
            "TENDRIL_SMTP_URL": f"smtp://127.0.0.1:{free_port()}",
        },
    )
    assert done.returncode == 1
    found = json.loads(done.stdout)
    bad = {check["name"]: check for check in found["checks"] if check["state"] == "bad"}
    assert not found["well"]
    assert set(bad) == {"RabbitMQ", "MongoDB", "mail"}
    assert all(check["mend"] for check in bad.values())
    assert "hidden" not in done.stdout


def test_doctor_names_a_wrong_setting(tmp_path: Path) -> None:
    done = tendril("doctor", home=tmp_path, env={"TENDRIL_MASTER_KEY": "short"})
    assert done.returncode == 1
    assert "TENDRIL_MASTER_KEY is wrong" in done.stderr


def test_an_error_with_a_log_is_told_by_its_first_and_last_line() -> None:
    assert one_line(EmbeddedError("mongod ended with status 1; the end of x:\n    one\n    two")) == (
        "mongod ended with status 1; the end of x: two"
    )


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    assert one_line(TypeError("no")) is None
    assert one_line(ExceptionGroup("several", [TypeError("no"), OSError("away")])) is None
    assert one_line(ExceptionGroup("several", [OSError("away"), OSError("away")])) == "away"
