"""Reasons in plain words. Every rule that the domain can name has a sentence here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from string import Formatter
from types import MappingProxyType
from typing import Any

from shared.events.kinds import GoalConfig
from shared.events.why import Why

#: No input has words of its own.
NOTHING_NAMED: Mapping[str, str] = MappingProxyType({})
#: Rule -> sentence; ``{name}`` stands for an input of that name, in words. A missing input reads as ``IF_MISSING`` has
#: it, or ``SHORTER`` has a sentence without it.
SENTENCES: Mapping[str, str] = {
    # when a step comes
    "delay": "Its delay was over.",
    "spacing": "It keeps the distance to the step before it that the sequence gives them, because that one was late.",
    "at_once": "It comes at once, without waiting.",
    "again": "It is run once more, because the run before was stopped or failed.",
    "window": "It had to wait for the next sending hours in the time zone {zone}.",
    "quota": "The limit of {limit} a {unit} for {scope} was used up, so it waits for the next free place.",
    "retry": "It is tried again after a passing fault: {reason}.",
    "deferred": "The channel could not take it then: {reason}.",
    "stopped": "It was stopped before it went out: {reason}.",
    "call_again": "The call came out as {outcome} and is tried again ({tries_left} left).",
    "restarted": "The enrollment was started again from here.",
    "lead_changed": "It was planned again, because the lead has changed.",
    "rules_changed": "It was planned again, because the organization's hours, days off or limits have changed.",
    "never_open": "Its sending hours, those of the organization and the days off are never open together.",
    "out_of_office": "The lead is away until {returns_on}, as its automatic answer said.",
    "best_hour": "It was moved to the hour from {hour}:00 in the time zone {zone}, in which leads answer most.",
    "already_done": "The lead has had this step already.",
    "by_order": "Somebody ordered it.",
    "advanced": "Somebody passed over the rest of the wait.",
    "first_step": "Moved to another version: it begins at the first step there.",
    "same_step": "Moved to another version: it goes on at the same step.",
    "moved": "Moved to another version: it goes on at the step named in the move.",
    "after_step": "Moved to another version: it goes on behind the step done last.",
    "no_such_step": "It cannot be moved: the other version lacks {step}.",
    "repeats": "It cannot be moved: {step} was done already.",
    "migration_awaited": "It moves to version {to_version} as soon as the step on its way is answered.",
    "stay": "It stays in its version, as was asked.",
    "past_appointment": "The appointment is over.",
    # which variant
    "variant_kept": "The step had this variant before.",
    "variant_winner": "The variant {variant} has won.",
    "variant_weight": "The variant was drawn by its share ({inputs}).",
    "variant_sampled": "The variant was drawn by how well each has done so far.",
    # what it waits for
    "approved": "Somebody approved the draft.",
    "draft_rejected": "Somebody rejected the draft.",
    "overdue": "Nobody did {task} in time.",
    "task": "It waits for a person.",
    "sequence_not_active": "It waits, because {blocked_on} is not active.",
    "owner_not_active": "The owner {owner} is not active.",
    "brake": "The brake of {blocked_on} holds it.",
    "bounce_rate": "The brake stopped it: {count} of {sent} messages bounced within {hours} hours, "
    "more than {most_percent} %.",
    "complaint_rate": "The brake stopped it: {count} of {sent} messages were complained about within {hours} hours, "
    "more than {most_percent} %.",
    "released": "Somebody released the brake.",
    "volume": "More went out in the last hour ({sent}) than the brake allows ({most_per_hour}).",
    "sender_not_active": "No active sender is set up for it.",
    "outcome": "It is on its way; the answer of the channel is awaited.",
    "stop_answer": "It was asked to stop; the answer is awaited.",
    "pending": "It begins at {start_at}.",
    "pending_by_hand": "It begins when somebody starts it.",
    # what became of a step
    "due": "It was handed over for sending (attempt {attempt}).",
    "sent": "It was sent by {channel}.",
    "taken": "It took effect.",
    "done_by_person": "Somebody did it: {outcome}.",
    "stop_asked": "It was asked to stop: {reason}.",
    "settled_sent": "It went out, as {by} showed.",
    "settled_not_sent": "It did not go out, as {by} showed.",
    "unanswered": "The channel has not answered in time; it was asked again (round {round}).",
    "not_consumed": "Nothing works on the channel at present; it was asked again (round {round}).",
    # steps passed over
    "inactive": "The step is switched off.",
    "no_date": "It counts back from {field}, in which the lead has no date.",
    "condition": "The condition looked at: {inputs}.",
    "erased": "The person was erased.",
    "unsubscribed": "The lead has unsubscribed from {channel}.",
    "consent": "The lead has refused {channel}.",
    "address": "The lead has no address for {channel}.",
    "suppression": "The address must not be sent to by {channel}: {reason}.",
    # why an enrollment stops
    "replied": "The lead replied.",
    "reply": "The lead replied.",
    "clicked": "The lead clicked a link.",
    "opened": "The lead opened a message.",
    "delivered": "A message was delivered.",
    "bounced": "The message bounced.",
    "bounce": "The message bounced.",
    "complained": "The lead complained about a message.",
    "unsubscribe": "The lead unsubscribed from {channel}.",
    "company": "Somebody of the same company did what stops {enrollment}.",
    "conversion": "The lead converted.",
    "goal": "The lead reached the goal {goal}.",
    "meeting_booked": "The lead booked a meeting.",
    "failure": "{step} failed: {reason}.",
    "missing_value": "The message of {step} needs values that the lead lacks: {missing}.",
    "in_doubt": "Whether the message of {step} went out is not known.",
    "exit_step": "The sequence ends at {step}.",
    "exited": "It ended: {reason}.",
    "completed": "Every step was done.",
    "paused": "It was held: {reason}.",
    "resumed": "It went on.",
    "began": "It began.",
    "enrolled": "The lead was put into the sequence: by {by}.",
    # the life of a sequence
    "sequence_published": "A version of the sequence was published.",
    "sequence_paused": "The sequence was paused.",
    "sequence_resumed": "The sequence was taken up again.",
    "sequence_archived": "The sequence was archived.",
    "sequence_deleted": "The sequence was deleted.",
    "sequence_restored": "The sequence was restored.",
    "sequence_not_running": "The sequence took nobody then: it was {status}.",
    "version": "It is in version {version}.",
    "resubscribed": "The lead wants messages by {channel} again.",
    # matching
    "never_matched": "It came by no way that looks for a sequence, and nobody enrolled it.",
    "no_match": "No sequence takes this lead ({looked_at} looked at).",
    "better_match": "{chosen} suited the lead better.",
    "best_match": "This sequence suited the lead best of {looked_at}.",
    "fallback": "No other sequence took the lead, so it went into its funnel's own.",
    "funnel_off": "The lead's funnel {funnel} is switched off.",
    "max_open_enrollments": "The lead is in as many sequences as it may be ({open} of {most}).",
    "exclusive": "The lead is in {sequence_id}, which excludes this one.",
    "manual": "The sequence takes nobody by itself: leads are enrolled by hand.",
    "occasion": "The sequence does not start on this occasion ({on}).",
    "no_funnel": "It has lost its funnels and takes nobody by itself until it is assigned to one.",
    "funnel": "The lead came through none of the sequence's funnels ({wanted}).",
    "score": "The lead's score of {score} is outside the range from {min} to {max}.",
    "crossing": "The score went from {before} to {after}, but no sequence that waits for that takes the lead.",
    "crossing_inside": "The score went from {before} to {after}, and the lead stays in {chosen}, which suits it best.",
    "threshold": "The score went from {before} to {after} without crossing the sequence's threshold.",
    "source": "The lead's source {value} is not among {wanted}.",
    "status": "The lead's status {value} is not among {wanted}.",
    "temperature": "The lead's temperature {value} is not among {wanted}.",
    "tag": "The lead has none of the tags {wanted}.",
    "duplicate": "The lead is in {here} already.",
    "reenroll": "The lead was in {here} until {ended_at}, and may come again {after_days} days later, "
    "from {not_before} on.",
    # changes of a lead
    "step": "A step of a sequence did it.",
    "message": "A funnel said so.",
    "by_hand": "Somebody did it by hand.",
}


#: Rule -> what is said where not every input of its sentence is there: the first that can be told.
SHORTER: Mapping[str, tuple[str, ...]] = {
    "window": ("It had to wait for the next sending hours.",),
    "quota": ("A limit was used up, so it waits for the next free place.",),
    "call_again": ("The call came out as {outcome} and is tried again.", "The call is tried again."),
    "out_of_office": ("The lead is away, as its automatic answer said.",),
    "best_hour": ("It was moved to the hour in which leads answer most.",),
    "migration_awaited": ("It moves to another version as soon as the step on its way is answered.",),
    "variant_winner": ("It has the variant that has won.",),
    "bounce_rate": (
        "The brake stopped it: {count} of {sent} messages bounced.",
        "The brake stopped it: too many messages bounced.",
    ),
    "complaint_rate": (
        "The brake stopped it: {count} of {sent} messages were complained about.",
        "The brake stopped it: too many messages were complained about.",
    ),
    "volume": ("More went out in the last hour than the brake allows.",),
    "pending": ("It begins later, at a moment that was set.",),
    "due": ("It was handed over for sending.",),
    "done_by_person": ("Somebody did it.",),
    "unanswered": ("The channel has not answered in time; it was asked again.",),
    "not_consumed": ("Nothing works on the channel at present; it was asked again.",),
    "no_date": ("It counts back from a date that the lead does not have.",),
    "missing_value": ("The message of {step} needs values that the lead lacks.",),
    "sequence_not_running": ("The sequence took nobody then.",),
    "version": ("It is in another version.",),
    "no_match": ("No sequence takes this lead.",),
    "best_match": ("This sequence suited the lead best.",),
    "funnel_off": ("The lead's funnel is switched off.",),
    "max_open_enrollments": ("The lead is in as many sequences as it may be.",),
    "occasion": ("The sequence does not start on this occasion.",),
    "funnel": ("The lead came through none of the sequence's funnels.",),
    "score": (
        "The lead's score of {score} is below {min}.",
        "The lead's score of {score} is above {max}.",
        "The lead's score is outside the sequence's range.",
    ),
    "crossing": ("The score crossed a threshold, but no sequence that waits for that takes the lead.",),
    "crossing_inside": ("The score crossed a threshold, and the lead stays in {chosen}, which suits it best.",),
    "threshold": ("The score changed without crossing the sequence's threshold.",),
    "source": ("The lead's source is not among those that the sequence takes.",),
    "status": ("The lead's status is not among those that the sequence takes.",),
    "temperature": ("The lead's temperature is not among those that the sequence takes.",),
    "tag": ("The lead has none of the tags that the sequence asks for.",),
    "reenroll": (
        "The lead was in {here} until {ended_at}, and has come again as often as its rule allows ({at_most}).",
        "The lead was in {here} until {ended_at}, and nobody comes into it a second time.",
        "The lead was in {here} before, and may come again from {not_before} on.",
        "The lead was in {here} before, and its rule for coming again does not allow it.",
    ),
}
#: What a sentence says of an input that there is none of, or that has no name.
IF_MISSING: Mapping[str, str] = {
    "step": "a step",
    "task": "the step",
    "enrollment": "the sequence",
    "chosen": "another sequence",
    "sequence_id": "another sequence",
    "blocked_on": "the sequence or its sender",
    "goal": "of the sequence",
    "owner": "whom the step names",
    "by": "somebody",
    "reason": "the reason was not noted",
    "channel": "that channel",
    "here": "this sequence",
    "inputs": "nothing",
}
#: A goal of this name was given none.
_UNNAMED_GOAL = GoalConfig.model_fields["name"].default
#: Inputs that are told by their names alone: of an id nobody knows what it is.
_IDS = frozenset({"enrollment", "task", "chosen", "sequence_id", "owner"})
#: Inputs that are moments.
_MOMENTS = frozenset({"ended_at", "not_before", "start_at"})
#: Ends of a range, which may be open.
_ENDS = frozenset({"min", "max"})
#: Inputs that may be a program's word.
_PROGRAMS_WORDS = frozenset({"reason", "outcome"})
#: Such a word, which is nobody's own.
_RULE = re.compile(r"[a-z]+(_[a-z]+)*")
#: Inputs such as ``sequence:<id>`` and ``brake:sender:<id>``.
_KINDS_AND_IDS = frozenset({"scope", "blocked_on"})


def in_words(why: Why, named: Mapping[str, str] = NOTHING_NAMED) -> str:
    """One sentence. A rule without one (a person's own words, or a rule of a newer writer) stands as it is.

    ``named`` has the words for inputs that are ids, by the input's name; as ``here`` that of the sequence.
    """
    if why.rule not in SENTENCES:
        return why.rule.replace("_", " ")
    inputs = {**IF_MISSING, **_inputs_in_words(why, named)}
    *fuller, shortest = (SENTENCES[why.rule], *SHORTER.get(why.rule, ()))
    sentence = next((each for each in fuller if _fields(each) <= inputs.keys()), shortest)
    return sentence_of(sentence.format_map(inputs))


def told(why: Why, until: datetime | None = None, named: Mapping[str, str] = NOTHING_NAMED) -> str:
    """Plain words, with the moment to which something waits. ``named``: words for inputs that are ids."""
    if until is None:
        return in_words(why, named)
    words = "It waits out its delay." if why.rule == "delay" else in_words(why, named)
    return f"{words} Planned for {until:%Y-%m-%d %H:%M} UTC."


def sentence_of(words: str) -> str:
    """With a capital at its beginning."""
    return words[:1].upper() + words[1:]


@cache
def _fields(sentence: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(sentence) if name)


def _inputs_in_words(why: Why, named: Mapping[str, str]) -> dict[str, str]:
    inputs = {name: _input(name, value) for name, value in why.inputs.items() if _says_something(name, value)}
    inputs |= named
    if "goal" not in inputs and "step" in inputs:
        inputs["goal"] = f"at {inputs['step']}"
    if why.inputs:
        inputs["inputs"] = ", ".join(_looked_at(why, name, named) for name in why.inputs)
    return inputs


def _says_something(name: str, value: Any) -> bool:
    """By itself, without words of its own."""
    match name:
        case "by":
            return not str(value).startswith(("member:", "api_key:"))
        case "goal":
            return bool(value != _UNNAMED_GOAL)
        case "blocked_on":
            return bool(value)
    return name not in _IDS and not (value is None and name in _ENDS)


def _input(name: str, value: Any) -> str:
    if name in _KINDS_AND_IDS:
        return f"the {str(value).removeprefix('brake:').partition(':')[0]}"
    if name in _PROGRAMS_WORDS and isinstance(value, str) and _RULE.fullmatch(value):
        return value.replace("_", " ")
    if name in _MOMENTS:
        return _moment(value)
    return f"step {value}" if name == "step" else _words(value)


def _moment(value: Any) -> str:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _looked_at(why: Why, name: str, named: Mapping[str, str]) -> str:
    """An input as a condition looked at it; there a name is that of the whole, and not of its value."""
    label = named.get(name, name) if why.rule == "condition" else name
    return f"{label} is {_words(why.inputs[name])}"


def _words(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ", ".join(_words(each) for each in value) or "none"
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
