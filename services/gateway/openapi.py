"""Prints the OpenAPI document: ``python -m services.gateway.openapi``. The web app makes its types from it."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from services.gateway.app import create_app


def document() -> bytes:
    """The same code gives the same bytes."""
    described = create_app(None, dist=Path("web/dist")).openapi()
    return orjson.dumps(described, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
