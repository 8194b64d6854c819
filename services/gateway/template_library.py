"""The sequences that come with the product, as YAML files beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from services.gateway.yaml_form import parse
from shared.events.definition import SequenceDefinition


@cache
def built_in() -> Mapping[str, SequenceDefinition]:
    """By id, which is the file's name without its ending."""
    folder = files("services.gateway") / "templates"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    return {
        each.name.removesuffix(".yaml"): SequenceDefinition.model_validate(parse(each.read_bytes())) for each in found
    }
