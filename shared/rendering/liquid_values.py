"""Liquid, bounded: templates see plain values only, cannot load anything, and end.

Both tag forms are understood: ``{{ first_name }}`` and the older ``{first_name}``. A value that is missing, null or
blank has no place in a message: without the filter ``default`` it raises, whatever other filters it passes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError
from liquid.undefined import FalsyStrictUndefined, Undefined

from shared.rendering.errors import BrokenContent, MissingValues

#: A message is larger than this only by mistake.
OUTPUT_CHARACTERS = 512 * 1024
LOOP_ITERATIONS = 2_000
LOCAL_BYTES = 256 * 1024
TEMPLATE_CHARACTERS = 256 * 1024
#: Names reported at once for one template.
MOST_MISSING = 20

#: Fields of a lead that the older tag form may name even when this lead has no value for them.
FIELDS = frozenset(
    {
        "name", "first_name", "last_name", "email", "phone", "company", "title", "timezone", "locale", "score",
        "source", "status", "temperature", "unsubscribe_url", "postal_address",
    }
)  # fmt: skip

#: A tag in the older form; its first group is the name.
OLD_TAG = re.compile(r"(?<![{%])\{\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\s*\}(?!\})")
_QUOTED_NAME = re.compile(r"^'?([^']*)'? is undefined$")


class _Missing(FalsyStrictUndefined):
    """False in a condition, its default under ``default``, an error anywhere else."""

    force_liquid_default = True


class _Environment(Environment):
    output_stream_limit = OUTPUT_CHARACTERS
    loop_iteration_limit = LOOP_ITERATIONS
    local_namespace_limit = LOCAL_BYTES
    context_depth_limit = 20


class _MissingValue(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


def _strict(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refusing missing input (some would turn it into an empty text or 0)."""
    if name == "default":
        return function

    @wraps(function)
    def guarded(*values: Any, **options: Any) -> Any:
        for value in values:
            if isinstance(value, Undefined):
                str(value)  # raises, naming the value
        return function(*values, **options)

    return guarded


def _environment(*, autoescape: bool) -> Environment:
    environment = _Environment(autoescape=autoescape, undefined=_Missing)
    for tag in ("include", "render"):
        environment.tags.pop(tag, None)
    environment.filters.pop("safe", None)  # what a lead's field holds is never markup
    environment.filters = {name: _strict(name, function) for name, function in environment.filters.items()}
    return environment


_HTML = _environment(autoescape=True)
_TEXT = _environment(autoescape=False)


@lru_cache(maxsize=1024)
def _compiled(template: str, known: frozenset[str], html: bool) -> BoundTemplate:
    """Parsed once for all leads that have the same fields."""
    if len(template) > TEMPLATE_CHARACTERS:
        raise BrokenContent(f"a template has at most {TEMPLATE_CHARACTERS} characters, got {len(template)}")
    try:
        return (_HTML if html else _TEXT).from_string(with_new_tags(template, known))
    except LiquidError as error:
        raise BrokenContent(f"a template cannot be read: {_plain(error)}") from None
    except RecursionError:
        raise BrokenContent("a template is nested too deeply") from None


def with_new_tags(template: str, known: frozenset[str] = frozenset()) -> str:
    """The template with every older tag that names a field, or a name in ``known``, in the newer form. Other braces
    stay.
    """

    def renewed(match: re.Match[str]) -> str:
        root = match[1].partition(".")[0]
        return f"{{{{ {match[1]} }}}}" if root in FIELDS or root in known or root in ("lead", "sender") else match[0]

    return OLD_TAG.sub(renewed, template) if "{" in template else template


def without_blanks(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are there: null and blank texts are as good as missing; inner mappings likewise."""
    present: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            present[str(name)] = without_blanks(value)
        elif value is not None and not (isinstance(value, str) and not value.strip()):
            present[str(name)] = value
    return present


def render(template: str, values: dict[str, Any], *, html: bool) -> str:
    """The text with all values in place; ``values`` went through ``without_blanks``.

    Raises MissingValues with every missing name, or BrokenContent.
    """
    if "{" not in template:
        return template
    compiled = _compiled(template, frozenset(values), html)
    missing: list[str] = []
    while True:
        try:
            text = compiled.render(**values)
        except LiquidError as error:
            name = _missing_name(error)
            if name is None:
                raise BrokenContent(f"a template cannot be rendered: {_plain(error)}") from None
            if name in missing or len(missing) >= MOST_MISSING:
                raise MissingValues(_deepest([*missing, name])) from None
            missing.append(name)
            values = _with_stand_in(values, name)
        except (TypeError, ValueError, ArithmeticError, RecursionError, AttributeError, KeyError, IndexError) as error:
            # A filter given a value it cannot take.
            raise BrokenContent(f"a template cannot be rendered: {type(error).__name__}") from None
        else:
            if missing:
                raise MissingValues(_deepest(missing))
            return text


def fill(template: str, values: dict[str, Any]) -> str:
    """A text for members, with the values in place and missing ones left out. Raises BrokenContent."""
    for _ in range(MOST_MISSING):
        try:
            return render(template, values, html=False)
        except MissingValues as error:
            for name in error.names:
                values = _with_stand_in(values, name, "")
    raise BrokenContent("too many values are missing")


def _deepest(names: list[str]) -> list[str]:
    """Without names that are only the way to another."""
    return sorted({name for name in names if not any(other.startswith(f"{name}.") for other in names)})


def _missing_name(error: LiquidError) -> str | None:
    if type(error).__name__ != "UndefinedError":
        return None
    found = _QUOTED_NAME.match(str(error).splitlines()[0])
    return found[1] if found else "a value"


def _with_stand_in(values: dict[str, Any], path: str, stand_in: str = "?") -> dict[str, Any]:
    """The values with something at the path, so that a further rendering finds the next missing name."""
    root, _, rest = path.partition(".")
    inner = values.get(root)
    if not rest:
        return {**values, root: stand_in}
    return {**values, root: _with_stand_in(inner if isinstance(inner, dict) else {}, rest, stand_in)}


def _plain(error: LiquidError) -> str:
    return str(error).splitlines()[0]
