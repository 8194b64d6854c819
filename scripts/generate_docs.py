"""Writes the generated documents: JSON Schemas, AsyncAPI, OpenAPI, the pages of commands, settings
and permissions. With ``--check``
only says what is out of date (exit 1).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.messaging.asyncapi import SCHEMAS, documents
from tendril.reference import commands_page, permissions_page, settings_page

ROOT = Path(__file__).resolve().parent.parent


def wanted() -> Iterator[tuple[Path, bytes]]:
    """Every document: its path from the root, and its content."""
    yield from documents()
    yield Path("docs/reference/commands.md"), commands_page().encode()
    yield Path("docs/reference/settings.md"), settings_page().encode()
    yield Path("docs/reference/permissions.md"), permissions_page().encode()
    if importlib.util.find_spec("services.gateway.openapi"):
        from services.gateway.openapi import document  # noqa: PLC0415 - imports the whole gateway

        yield Path("docs/openapi.json"), document()


def main(arguments: list[str]) -> int:
    """Exit status 1 when ``--check`` finds a document missing, changed or left over."""
    content = dict(wanted())
    stale = [path for path, body in content.items() if not (ROOT / path).exists() or (ROOT / path).read_bytes() != body]
    left_over = [
        path.relative_to(ROOT) for path in (ROOT / SCHEMAS).glob("*.json") if path.relative_to(ROOT) not in content
    ]
    if "--check" in arguments:
        for path in [*stale, *left_over]:
            print(f"{path} is not up to date; run `make docs`")
        return 1 if stale or left_over else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(content[path])
        print(f"wrote {path}")
    for path in left_over:
        (ROOT / path).unlink()
        print(f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
