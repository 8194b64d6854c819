"""Bodies that an API's own description does not allow: every field of every level wrong in each way, in few bodies.

What can be wrong at the same time stands in one body: the fields of an object beside each other, the ways of an item
in a list of such items. Each body comes with the places that its refusal must name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, zip_longest
from typing import Any, NamedTuple

from services.gateway.examples import example_of
from shared.events.definition import CONFIG_OF_KIND, VARIED_KINDS

Schema = Mapping[str, Any]

#: Longest text that is sent to be too long.
LONGEST = 120_000
MOST_ITEMS = 1_000
#: How often one shape may stand within itself.
TURNS = 2


#: A step within others stands under its own id alone, which ``!`` marks.
_OUTER_STEPS = re.compile(r"(\.steps).*!")


class Wrong(NamedTuple):
    """A value, and the places in it that are wrong, each as what follows the value's own place."""

    value: Any
    places: tuple[str, ...]


class WrongBodies:
    """Of one description."""

    def __init__(self, schemas: Schema) -> None:
        self._schemas = schemas
        self._numbers = count()

    def of(self, schema: Schema) -> list[Wrong]:
        """Bodies of this schema; the places begin with a dot or a bracket, and are empty for a whole body."""
        return [
            Wrong(value, tuple(_OUTER_STEPS.sub(r"\1.", place) for place in places))
            for value, places in self._ways(schema, ())
        ]

    def _ways(self, schema: Schema, stack: Sequence[str]) -> list[Wrong]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if stack.count(name) >= TURNS:
                return []
            inner, stack = self._schemas[name], (*stack, name)
            return self._steps(inner, stack) if name == "Step" else self._ways(inner, stack)
        forms = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if len(forms) == 1:
            return self._ways(forms[0], stack)
        if forms:
            return [*_of_no_form([self._resolved(each) for each in forms]), *self._of_objects(forms, stack)]
        match schema.get("type"):
            case "object":
                return self._object(schema, stack)
            case "array":
                return self._array(schema, stack)
            case None if not {"enum", "const"} & schema.keys():
                return [Wrong(2**70, ("",))]
        return [Wrong(value, ("",)) for value in wrong_scalars(schema)]

    def _resolved(self, schema: Schema) -> Schema:
        return self._schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def _of_objects(self, forms: Sequence[Schema], stack: Sequence[str]) -> list[Wrong]:
        objects = [each for each in forms if self._resolved(each).get("type") == "object"]
        return [way for each in objects for way in self._ways(each, stack) if isinstance(way.value, dict)]

    def _object(self, schema: Schema, stack: Sequence[str], fixed: Mapping[str, Any] | None = None) -> list[Wrong]:
        """``fixed``: fields that stay as they are."""
        fixed = fixed or {}
        found = [Wrong([1], ("",))] if not fixed else []
        properties = {name: of for name, of in (schema.get("properties") or {}).items() if name not in fixed}
        required = {name: properties[name] for name in schema.get("required", ()) if name in properties}
        others = schema.get("additionalProperties")
        if required:
            found.append(Wrong(dict(fixed), tuple(f".{name}" for name in required)))
        by_field = {name: self._ways(of, stack) for name, of in properties.items()}
        for number, ways in enumerate(zip_longest(*by_field.values())):
            value: dict[str, Any] = dict(fixed)
            places: list[str] = []
            for (name, of), way in zip(properties.items(), ways, strict=True):
                if way is not None:
                    value[name] = way.value
                    places += (f".{name}{place}" for place in way.places)
                elif name in required:
                    value[name] = example_of(of, self._schemas, name)
            if number == 0 and others is False:
                value["no_such_field"] = 1
                places.append(".no_such_field")
            found.append(Wrong(value, tuple(places)))
        if not properties and not fixed:
            found += self._map(schema, stack)
        return found

    def _map(self, schema: Schema, stack: Sequence[str]) -> list[Wrong]:
        of = schema.get("additionalProperties")
        if of is False:
            return [Wrong({"no_such_field": 1}, (".no_such_field",))]
        most = schema.get("maxProperties", MOST_ITEMS + 1)
        too_many = [Wrong({f"key-{n}": "x" for n in range(most + 1)}, ("",))] if most <= MOST_ITEMS else []
        if of is None:
            values = schema.get("patternProperties", {})
            wrong_key = [Wrong({"§ none": "x"}, (".§ none",))] if values else []
            return [*too_many, *wrong_key, *(Wrong({"key": {"a": 1}}, (".key",)) for _ in values)]
        if of is True:
            return too_many
        [key, *_] = self._resolved(schema.get("propertyNames") or {}).get("enum") or ["some-key"]
        return too_many + [
            Wrong({key: way.value}, tuple(f".{key}{place}" for place in way.places)) for way in self._ways(of, stack)
        ]

    def _array(self, schema: Schema, stack: Sequence[str]) -> list[Wrong]:
        found = [Wrong({"a": 1}, ("",))]
        most = schema.get("maxItems", MOST_ITEMS + 1)
        if most <= MOST_ITEMS:
            found.append(Wrong([None] * (most + 1), ("",)))
        if schema.get("minItems"):
            found.append(Wrong([], ("",)))
        ways = self._ways(schema.get("items") or {}, stack)
        return found + [
            _together(ways[start : start + most], self._place_of_step if _has(schema, "Step") else _place_of_item)
            for start in range(0, len(ways), most)
        ]

    def _steps(self, schema: Schema, stack: Sequence[str]) -> list[Wrong]:
        """Steps of every kind; those that go wrong in what is no one's own come first."""
        plain = {**schema, "properties": {n: of for n, of in schema["properties"].items() if n != "config"}}
        plain["required"] = [name for name in plain["required"] if name != "step_id"]  # made when it is left out
        found = self._object(plain, stack)
        for kind, config in CONFIG_OF_KIND.items():
            ways = self._ways({"$ref": f"#/components/schemas/{config.__name__}"}, stack)
            found += [
                Wrong({"kind": kind, "config": way.value}, tuple(f".config{place}" for place in way.places))
                for way in ways
            ]
            if kind in VARIED_KINDS:
                found.append(self._varied(kind, config.__name__))
        return found

    def _place_of_step(self, number: int, way: Wrong) -> tuple[Any, Iterator[str]]:
        """A step stands under its id."""
        if not isinstance(way.value, dict) or ".step_id" in way.places:
            return way.value, (f"[{number}]{place}" for place in way.places)
        step_id = f"s{next(self._numbers)}"
        return {**way.value, "step_id": step_id}, (f"!{step_id}{place}" for place in way.places)

    def _varied(self, kind: str, config: str) -> Wrong:
        said = example_of({"$ref": f"#/components/schemas/{config}"}, self._schemas)
        body = {} if kind in {"sms", "whatsapp"} else {"html": "<p>Hi</p>"}
        wrong = {"text": {"a": 1}, "no_such_field": 1, "sender": "eve"}
        variants = [{"variant_id": "a"}, {"variant_id": "b", "config": wrong}]
        places = tuple(f".variants.b.config.{name}" for name in wrong)
        text = {"text": "Hi"} if kind == "whatsapp" else {}
        return Wrong({"kind": kind, "config": {**said, **body, **text}, "variants": variants}, places)


def _has(schema: Schema, name: str) -> bool:
    return str((schema.get("items") or {}).get("$ref", "")).endswith(f"/{name}")


def _together(ways: Sequence[Wrong], place_of: Callable[[int, Wrong], tuple[Any, Iterator[str]]]) -> Wrong:
    placed = [place_of(number, way) for number, way in enumerate(ways)]
    return Wrong([value for value, _ in placed], tuple(place for _, places in placed for place in places))


def _place_of_item(number: int, way: Wrong) -> tuple[Any, Iterator[str]]:
    if isinstance(way.value, dict) and "variant_id" in way.value and ".variant_id" not in way.places:
        return way.value, (f".{way.value['variant_id']}{place}" for place in way.places)
    return way.value, (f"[{number}]{place}" for place in way.places)


def _of_no_form(forms: Sequence[Schema]) -> list[Wrong]:
    """What none of several forms allows."""
    found = [Wrong([1], ("",))]
    if all(each.get("type") == "string" for each in forms) and any("enum" in each for each in forms):
        found.append(Wrong("§ none of these", ("",)))
    return found


def wrong_scalars(schema: Schema) -> Iterator[Any]:
    """What a text, number, or word must not be, as far as the schema's own words say."""
    match schema.get("type"):
        case "string":
            yield {"a": 1}
            if schema.get("maxLength", LONGEST + 1) <= LONGEST:
                yield "x" * (schema["maxLength"] + 1)
            if schema.get("minLength"):
                yield ""
            known_form = schema.get("format") in {"uuid", "date", "date-time", "email"}
            if {"enum", "const", "pattern"} & schema.keys() or known_form:
                yield "§ none of these"
            if schema.get("format") == "date-time":
                yield "2026-01-01T00:00:00"
        case "integer" | "number":
            yield "many"
            yield from (schema[bound] + by for bound, by in (("minimum", -1), ("maximum", 1)) if bound in schema)
            yield from (schema[bound] for bound in ("exclusiveMinimum", "exclusiveMaximum") if bound in schema)
        case "boolean":
            yield "perhaps"
