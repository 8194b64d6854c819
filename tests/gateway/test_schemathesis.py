"""Requests that schemathesis makes from the API's own description, against a running gateway with the domain behind it:
no server error, and no answer that the description does not name.

Always the same requests. ``SCHEMATHESIS_EXAMPLES=50`` tries that many of each route.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from tests.gateway.conftest import Gateway
from tests.gateway.domain import DomainBehind

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "2")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
#: Beyond what any request takes on a busy machine: the test is of answers, not of their speed.
PATIENCE_SECONDS = "60"
#: Reached only by a run that hangs.
HANGS_SECONDS = 900.0


async def test_no_request_that_the_description_allows_is_a_server_error(gateway: Gateway, tmp_path: Path) -> None:
    behind = DomainBehind()
    gateway.write_side.answer = behind.answer
    for view, document in behind.documents():
        await gateway.put(view, document)
    with structlog.testing.capture_logs() as logged:
        status, said = await tried(gateway, behind.ids, tmp_path)
    faults = [(each["method"], each["path"], each["exc_info"]) for each in logged if each["event"] == "request failed"]
    assert faults == []
    assert status == 0, said
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert tested is not None, said
    assert len(set(tested.groups())) == 1, said
    assert len(gateway.write_side.seen) > 30, said


async def tried(gateway: Gateway, ids: Mapping[str, Any], home: Path) -> tuple[int | None, str]:
    """Exit status and report of schemathesis, run in a process of its own. ``ids``: what there is, by parameter."""
    known = "".join(f'"path.{name}" = "{value}"\n' for name, value in ids.items())
    (home / "schemathesis.toml").write_text(f"[parameters]\n{known}")
    program = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"),
        *("--no-color", "--config-file", "schemathesis.toml"),
        *("run", f"http://127.0.0.1:{gateway.port}/openapi.json"),
        *("--header", f"X-API-Key:{gateway.key()['X-API-Key']}"),
        *("--phases", "fuzzing", "--max-examples", EXAMPLES, "--checks", ",".join(CHECKS)),
        *("--generation-deterministic", "--no-shrink", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--request-timeout", PATIENCE_SECONDS),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=home,
    )
    try:
        async with asyncio.timeout(HANGS_SECONDS):
            said, _ = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    return program.returncode, said.decode(errors="replace")
