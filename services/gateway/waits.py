"""What an enrollment waits for now, told as the why-answers tell it, with names from the views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.context import Context
from shared.events.naming import StepName, Thing, named_inputs, named_raw_steps, thing_called
from shared.events.why import Why
from shared.events.wording import told

#: A thing by what it is and its id.
_Key = tuple[Thing, str]
#: Thing -> its view and the field that is its name.
_VIEWS: Mapping[Thing, tuple[str, str]] = {
    "sequence": ("sequences", "name"),
    "task": ("tasks", "title"),
    "enrollment": ("enrollments", "sequence_id"),
}
#: What a step on its way waits for: an answer, and not the moment that is told with it.
_ANSWERS = frozenset({"dispatch", "answer"})


async def with_words(context: Context, shown: Mapping[str, Any]) -> dict[str, Any]:
    """An enrollment as a list shows it, with its steps' names and numbers in its own version, and with words for the
    reason of its wait and for the ids among the inputs. What a view does not have (any more) has no name."""
    steps = await _steps(context, shown["sequence_id"], shown["version"])
    current, following, waits = steps.get(shown["current_step"] or ""), shown["next"], shown["waiting_for"]
    return {
        **shown,
        "current_step_name": current.name if current is not None else shown["current_step_name"],
        "current_step_number": current.number if current is not None else None,
        "next": {**following, **_of_step(steps.get(following["step_id"]))} if following is not None else None,
        "waiting_for": {**waits, "why": await _in_words(context, waits, steps)} if waits is not None else None,
    }


async def _in_words(context: Context, waits: Mapping[str, Any], steps: Mapping[str, StepName]) -> dict[str, Any] | None:
    why, until = _why(waits), waits["until"] if waits["kind"] not in _ANSWERS else None
    if why is None:
        return None
    asked: set[_Key] = set()

    def ask(thing: Thing, name: str) -> None:
        asked.add((thing, name))

    named_inputs(why, ask)
    found = await _Names(context, steps).of(asked)
    named = named_inputs(why, lambda thing, name: found.get((thing, name)))
    recorded = waits["why"] or why.model_dump(mode="json")
    return {**recorded, "names": named, "text": told(why, until, named)}


def _why(waits: Mapping[str, Any]) -> Why | None:
    """None for what explains nothing."""
    recorded, kind, until = waits["why"], waits["kind"], waits["until"]
    if kind == "start" and recorded is None:
        return Why(rule="pending", inputs={"start_at": until}) if until is not None else Why(rule="pending_by_hand")
    if recorded is None:
        return Why(rule="outcome") if kind in _ANSWERS else None
    why = Why.model_validate(recorded)
    # A pause for which no rule was recorded has its reason there.
    return Why(rule="paused", inputs={"reason": why.rule}) if kind == "pause" and not why.inputs else why


class _Names:
    """Of one organization, looked up together."""

    def __init__(self, context: Context, steps: Mapping[str, StepName]) -> None:
        self._context = context
        self._steps = steps

    async def of(self, asked: Iterable[_Key]) -> dict[_Key, str]:
        """Those that have a name."""
        found = {(thing, name): await self._of(thing, name) for thing, name in asked}
        return {key: words for key, words in found.items() if words}

    async def _of(self, thing: Thing, name: str) -> str | None:
        match thing:
            case "step":
                step = self._steps.get(name)
                return str(step) if step is not None else None
            case "sequence" | "task":
                return thing_called(thing, await self._field(thing, name))
            case "enrollment":
                sequence_id = await self._field(thing, name)
                return await self._of("sequence", sequence_id) if sequence_id is not None else None
            case "actor":
                return await self._actor(name)
            case "scope":
                return await self._scope(name)
            case "funnel":
                found = await self._find("funnels", {"funnel_id": name}, "name")
                return (found or {}).get("name") or name

    async def _scope(self, named: str) -> str | None:
        kind, _, name = named.removeprefix("brake:").partition(":")
        match kind:
            case "sequence" | "task":
                return await self._of(kind, name)
            case "sender":
                sender = (await self._organization()).get("senders", {}).get(name) or {}
                return thing_called("sender", sender.get("name") or name)
        return None

    async def _actor(self, actor: str) -> str | None:
        kind, _, name = actor.partition(":")
        organization = await self._organization()
        if kind == "api_key":
            return (organization.get("api_keys", {}).get(name) or {}).get("name")
        member = organization.get("members", {}).get(name) if kind == "member" else None
        return (member.get("name") or member["email"]) if member is not None else None

    async def _organization(self) -> Mapping[str, Any]:
        directory = self._context.parts.directory
        return await directory.organization(self._context.scope.organization_id) or {}

    async def _field(self, thing: Thing, document_id: str) -> str | None:
        view, field = _VIEWS[thing]
        return (await self._find(view, {"_id": document_id}, field) or {}).get(field)

    async def _find(self, view: str, condition: Mapping[str, Any], field: str) -> Mapping[str, Any] | None:
        collection = await self._context.parts.views.collection(view)
        return await collection.find_one(self._context.scope.filter(condition), {field: 1})


async def _steps(context: Context, sequence_id: str, version: int) -> dict[str, StepName]:
    """Of one published version."""
    versions = await context.parts.views.collection("sequence_versions")
    wanted = context.scope.filter({"_id": f"{sequence_id}-{version}"})
    found = await versions.find_one(wanted, {"definition.steps": 1})
    return named_raw_steps(found["definition"]["steps"]) if found is not None else {}


def _of_step(step: StepName | None) -> dict[str, Any]:
    return {"step_name": step.name, "step_number": step.number} if step is not None else {}
