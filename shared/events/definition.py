"""What a sequence says: settings, trigger and steps, as plain values.

The shapes are those of ``POST /api/v1/sequences``. A definition is checked here for form only; whether it makes sense
as a whole (loops, unknown tags, missing senders) is the enrollment service's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.events.free_fields import storable
from shared.events.kinds import (
    LONGEST_TEXT,
    PLAIN_CONFIGS,
    CallConfig,
    Channel,
    EmailConfig,
    EmailManualConfig,
    ExitConfig,
    FieldConfig,
    GoalConfig,
    MailContent,
    NoteConfig,
    NotificationConfig,
    ReminderConfig,
    ScoreConfig,
    SmsConfig,
    SocialConfig,
    StepKind,
    TagConfig,
    TaskConfig,
    WaitConfig,
    WebhookConfig,
    WhatsappConfig,
)
from shared.events.message import MOST, Instant, Value
from shared.events.patterns import CHOSEN_ID, LOCAL_TIME
from shared.events.places import problem_of
from shared.events.step_ids import with_step_ids
from shared.events.variants import BODIES, FIXED, Selection, Variant

StepId = Annotated[str, StringConstraints(pattern=CHOSEN_ID)]
LocalTime = Annotated[str, StringConstraints(pattern=LOCAL_TIME)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


#: Longest stretch that one entry of a calendar names.
MOST_DAYS_OFF = 400

#: What a reply is about.
Intent = Literal["interested", "not_now", "not_interested", "unsubscribe", "out_of_office", "other"]


class Delay(Value):
    """How long a step waits, counted from where; ``at`` then moves it to that local time of day, the same day or the
    next. Only a delay from a lead's date field may be negative: so long before it; where the field holds no date, such
    a step is passed over. A moment that has passed is due at once.
    """

    amount: int = Field(default=0, ge=-100_000, le=100_000)
    unit: Literal["minutes", "hours", "days", "business_days", "weeks"] = "minutes"
    from_: Literal["previous", "enrollment", "field"] = Field(default="previous", alias="from")
    field: str | None = None
    at: LocalTime | None = None

    model_config = {"populate_by_name": True, "frozen": True, "extra": "forbid", "serialize_by_alias": True}

    @model_validator(mode="after")
    def _before_a_field_only(self) -> Self:
        if self.amount < 0 and self.from_ != "field":
            raise ValueError("amount must not be negative, but for a delay from a field")
        return self


class WithinTime(Value):
    amount: int = Field(ge=1, le=100_000)
    unit: Literal["minutes", "hours", "days", "weeks"] = "days"


class EngagementTest(Value):
    """Has this signal come for this step (any step when left out), for this link, with this intent (a reply's), within
    a time before now?"""

    signal: Literal["delivered", "opened", "clicked", "replied", "bounced", "unsubscribed"]
    step: StepId | None = None
    link: str | None = None
    intent: Intent | None = None
    within: WithinTime | None = None


class TimeTest(Value):
    """Is it such a time, on local wall time? Every part that is given must hold. ``days``, ``start`` (inside) and
    ``end`` (outside) read as in a window; ``first_day`` and ``last_day`` are both inside.
    """

    days: list[Weekday] | None = None
    start: LocalTime | None = None
    end: LocalTime | None = None
    first_day: date | None = None
    last_day: date | None = None


class Condition(Value):
    """A node of the tree: exactly one of its forms is given."""

    all: list[Condition] | None = None
    any: list[Condition] | None = None
    not_: Condition | None = Field(default=None, alias="not")
    field: str | None = None
    op: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains", "exists", "before", "after"] | None = None
    value: Any = None
    engagement: EngagementTest | None = None
    has_tag: str | None = None
    consent: str | None = None
    time: TimeTest | None = None

    model_config = {"populate_by_name": True, "frozen": True, "extra": "forbid", "serialize_by_alias": True}

    @field_validator("value")
    @classmethod
    def _can_be_written(cls, value: Any) -> Any:
        storable({"value": value})
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [self.all, self.any, self.not_, self.field, self.engagement, self.has_tag, self.consent, self.time]
        if sum(form is not None for form in forms) != 1:
            raise ValueError("exactly one of all, any, not, field, engagement, has_tag, consent, time must be given")
        if (self.field is None) != (self.op is None):
            raise ValueError("field and op go together")
        return self


class ConditionConfig(Value):
    when: Condition


class AppointmentConfig(MailContent):
    """An e-mail with an invitation to the calendar. ``start`` is counted like a delay, ``previous`` meaning the moment
    the invitation is due. ``title`` and ``location`` may hold merge tags."""

    title: str = Field(min_length=1, max_length=300)
    location: str | None = Field(default=None, max_length=1_000)
    description: str | None = Field(default=None, max_length=LONGEST_TEXT)
    start: Delay
    duration_minutes: int = Field(default=30, ge=5, le=24 * 60)


StepConfig = (
    EmailConfig
    | EmailManualConfig
    | SmsConfig
    | WhatsappConfig
    | CallConfig
    | ReminderConfig
    | SocialConfig
    | TaskConfig
    | NoteConfig
    | WaitConfig
    | ConditionConfig
    | WebhookConfig
    | ScoreConfig
    | TagConfig
    | FieldConfig
    | AppointmentConfig
    | NotificationConfig
    | GoalConfig
    | ExitConfig
)

CONFIG_OF_KIND: dict[StepKind, type[Value]] = {
    **PLAIN_CONFIGS,
    StepKind.CONDITION: ConditionConfig,
    StepKind.APPOINTMENT: AppointmentConfig,
}


#: Kinds whose message may have variants.
VARIED_KINDS = frozenset({StepKind.EMAIL, StepKind.SMS, StepKind.WHATSAPP, StepKind.APPOINTMENT})


class AiBadge(Value):
    """Was this written by a model, and why so? Shown to people; it decides nothing."""

    suggested: bool = True
    reason: str = Field(default="", max_length=2_000)


class Step(Value):
    """A node. ``then`` and ``else`` are the arms of a condition; after an arm the flow joins at the next step of the
    outer list. ``variants`` are contents of a message, of which each lead gets one."""

    step_id: StepId
    kind: StepKind
    name: str = ""
    active: bool = True
    delay: Delay = Delay()
    conditions: Condition | None = None
    on_failure: Literal["continue", "pause", "exit"] = "continue"
    config: StepConfig = Field(default_factory=dict, validate_default=True)
    variants: list[Variant] = Field(default=[], max_length=20)
    selection: Selection = Selection()
    ai: AiBadge | None = None
    then: list[Step] = []
    else_: list[Step] = Field(default=[], alias="else")

    model_config = {"populate_by_name": True, "frozen": True, "extra": "forbid", "serialize_by_alias": True}

    @field_validator("config", mode="wrap")
    @classmethod
    def _config_by_kind(cls, config: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Reads ``config`` by ``kind``, so that an error names the field of that kind and no other; where the kind is
        wrong, that alone is said."""
        kind = info.data.get("kind")
        return config if kind is None else CONFIG_OF_KIND[kind].model_validate(config)

    @field_validator("variants")
    @classmethod
    def _variants_make_sense(cls, variants: list[Variant], info: ValidationInfo) -> list[Variant]:
        """What a variant says must be a content of the step's kind, with the same channel and sender."""
        kind, config = info.data.get("kind"), info.data.get("config")
        if not variants or kind is None or config is None:
            return variants
        if kind not in VARIED_KINDS:
            raise ValueError(f"a step of kind {kind} has no variants")
        if len(variants) < 2 or len({each.variant_id for each in variants}) < len(variants):
            raise ValueError("at least two variants, each with a variant_id of its own, must be given")
        if not any(each.weight for each in variants):
            raise ValueError("at least one variant must have a weight above 0")
        wrong: list[InitErrorDetails] = []
        for number, variant in enumerate(variants):
            wrong += [
                _wrong_variant((number, "config", *place), problem)
                for place, problem in _faults_of(kind, config, variant)
            ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return variants

    def with_variant(self, variant: Variant) -> Step:
        """The step as it is for those who get this variant."""
        return self.model_copy(update={"config": varied(self.kind, self.config, variant)})

    @property
    def contents(self) -> list[Step]:
        """The step as each of its variants has it; itself when it has none."""
        return [self.with_variant(each) for each in self.variants] or [self]

    @model_validator(mode="after")
    def _arms_only_on_conditions(self) -> Self:
        if (self.then or self.else_) and self.kind is not StepKind.CONDITION:
            raise ValueError("only a condition has then and else")
        return self


class DayOff(Value):
    """Days on which nobody works: ``first`` to ``last``, both inside; ``last`` left out means one day."""

    first: date
    last: date | None = None
    name: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last is not None and not self.first <= self.last <= self.first + timedelta(days=MOST_DAYS_OFF):
            raise ValueError(f"last must not be before first, nor more than {MOST_DAYS_OFF} days after it")
        return self


class QuietHours(Value):
    """When SMS and WhatsApp are silent, on the lead's wall time: from ``start`` to ``end``, overnight too; never when
    both are the same."""

    start: LocalTime = "21:00"
    end: LocalTime = "08:00"


def varied(kind: StepKind, config: Value, variant: Variant) -> Any:
    """A step's config with what the variant puts in its place. Raises ValidationError."""
    replaced = variant.config.keys() | (BODIES if BODIES & variant.config.keys() else set())
    kept = {name: value for name, value in config.model_dump(exclude_unset=True).items() if name not in replaced}
    return CONFIG_OF_KIND[kind].model_validate({**kept, **variant.config})


def _faults_of(kind: StepKind, config: Value, variant: Variant) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What is wrong with a variant's config, by place in it."""
    for name in sorted(FIXED & variant.config.keys()):
        yield (name,), "is the same for all variants"
    try:
        varied(kind, config, variant)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            yield detail["loc"], problem_of(detail["msg"])


def _wrong_variant(place: tuple[int | str, ...], problem: str) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("variant", "{problem}", {"problem": problem}), loc=place, input=None
    )


def content_digest(step: Step) -> str:
    """Eight letters that change with what the step says."""
    said = step.config.model_dump(mode="json", exclude_defaults=True)
    return blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=4).hexdigest()


class Window(Value):
    """Hours in which a channel may send, on local wall time: from ``start`` (inside) to ``end`` (outside).

    ``end`` at or before ``start`` runs overnight and belongs to the day it begins on; "00:00" to "00:00" is the whole
    day.
    """

    days: list[Weekday] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    start: LocalTime = "00:00"
    end: LocalTime = "00:00"


StopSignal = Literal["reply", "meeting_booked", "conversion", "click", "unsubscribe", "bounce", "goal"]


class StopRule(Value):
    on: StopSignal
    do: Literal["pause", "exit"] = "exit"
    company: bool = False


class Limits(Value):
    per_day: int | None = Field(default=None, ge=1, le=MOST)
    per_minute: int | None = Field(default=None, ge=1, le=MOST)


class Brake(Value):
    """When a sequence or sender stops itself: more bounces or complaints in 100 messages of the last ``hours``, of
    which there must be ``min_sent``, or more messages than ``most_per_hour`` in an hour. None: that one is off."""

    bounce_percent: float | None = Field(default=10, gt=0, le=100)
    complaint_percent: float | None = Field(default=2, gt=0, le=100)
    most_per_hour: int | None = Field(default=None, ge=1, le=MOST)
    min_sent: int = Field(default=50, ge=1, le=MOST)
    hours: int = Field(default=24, ge=1, le=168)


class RampUp(Value):
    """How a new sender's day begins: ``start`` messages on its first day, then ``step`` more, or ``factor`` times as
    many, each day until ``limits.per_day``. Exactly one of ``step`` and ``factor`` is given."""

    start: int = Field(ge=1, le=1_000_000)
    step: int | None = Field(default=None, ge=1, le=1_000_000)
    factor: float | None = Field(default=None, gt=1, le=10, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.step is None) == (self.factor is None):
            raise ValueError("exactly one of step and factor must be given")
        return self


class Reenroll(Value):
    after_days: int = Field(default=0, ge=0, le=100_000)
    at_most: int | None = Field(default=None, ge=1, le=MOST)


#: A word that several sequences share: a lead is in one of them at a time.
ExclusiveGroup = Annotated[str, StringConstraints(pattern=CHOSEN_ID)]


class SequenceSettings(Value):
    """``timezone`` is ``lead``, ``organization`` or a name of the tz database. Empty ``windows`` mean any hour; those
    of ``channel_windows`` hold for one channel, besides. ``send_time`` ``optimised`` moves a message to the hour at
    which the lead, or the organization's leads, answer most: inside every window, and at most a day later.
    ``exclusive`` True: a lead in it is in no other sequence; a word: in no other of that group.
    """

    stop_on: list[StopSignal | StopRule] = ["reply", "meeting_booked", "conversion", "unsubscribe", "bounce"]
    max_retries: int = Field(default=3, ge=0, le=20)
    retry_delay_minutes: int = Field(default=15, ge=1, le=7 * 24 * 60)
    timezone: str = "lead"
    windows: list[Window] = []
    channel_windows: dict[Channel, list[Window]] = {}
    skip_weekends: bool = False
    holidays: str | None = None
    send_time: Literal["fixed", "optimised"] = "fixed"
    limits: Limits = Limits()
    brake: Brake = Brake()
    reenroll: Reenroll | None = None
    exclusive: bool | ExclusiveGroup = False
    manual_advance: bool = True
    on_in_doubt: Literal["continue", "hold"] = "continue"

    def stop_rule(self, signal: str) -> StopRule | None:
        """The rule for a signal; None when it stops nothing."""
        for rule in self.stop_on:
            if rule == signal:
                return StopRule(on=rule)
            if isinstance(rule, StopRule) and rule.on == signal:
                return rule
        return None


class ScoreRange(Value):
    min: int | None = Field(default=None, ge=0, le=100)
    max: int | None = Field(default=None, ge=0, le=100)


class Trigger(Value):
    """Which leads a sequence takes. Empty lists match every lead; with ``start`` ``manual`` none is taken by itself.
    ``start_at``: a lead taken before that moment waits for it. ``funnels`` are assigned when they are new in a version
    and unassigned when they are gone from it; what is assigned by hand in between stays as it is. A sequence that has
    lost all its funnels takes nobody by itself, unless ``any_funnel`` says that it then takes leads of any."""

    on: list[Literal["created", "score_reached"]] = ["created"]
    start: Literal["auto", "manual"] = "auto"
    start_at: Instant | None = None
    funnels: list[str] = []
    any_funnel: bool = False
    score: ScoreRange | None = None
    sources: list[str] = []
    statuses: list[str] = []
    temperatures: list[str] = []
    tags: list[str] = []
    conditions: Condition | None = None
    priority: int = Field(default=0, ge=-MOST, le=MOST)


Category = Literal[
    "cold_outreach",
    "nurture",
    "warm_lead",
    "cold_lead",
    "objection_handling",
    "reactivation",
    "follow_up",
    "win_back",
    "custom",
]


class SequenceDefinition(Value):
    """Everything a version freezes. A step without ``step_id`` gets one made of its kind; ``owner`` names the member
    who answers for it."""

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    category: Category = "custom"
    audience: str = ""
    owner: str | None = Field(default=None, max_length=200)
    ai: AiBadge | None = None
    settings: SequenceSettings = SequenceSettings()
    trigger: Trigger = Trigger()
    steps: list[Step] = Field(min_length=1, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _named_steps(cls, raw: Any) -> Any:
        return with_step_ids(raw)


def walk(steps: list[Step]) -> list[Step]:
    """Every step in reading order, arms included."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        found.extend(walk(step.then))
        found.extend(walk(step.else_))
    return found


#: Fields of a config with merge tags.
TEXT_FIELDS = ("subject", "preheader", "html", "text", "title", "notes", "body", "location", "description")


def texts_of(step: Step) -> dict[str, str]:
    """A step's texts that may hold merge tags, by their place in the step: ``config.subject``, and for a variant
    ``variants.b.config.subject``."""
    found = _texts(_given(step.config), "config")
    for variant in step.variants:
        found |= _texts(variant.config, f"variants.{variant.variant_id}.config")
    return found


def _given(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("template", *TEXT_FIELDS) if hasattr(config, name)}


def _texts(config: Mapping[str, Any], where: str) -> dict[str, str]:
    found = {f"{where}.{name}": config[name] for name in TEXT_FIELDS if isinstance(config.get(name), str)}
    template = config.get("template")
    parameters = template.get("parameters") if isinstance(template, dict) else getattr(template, "parameters", None)
    found |= {f"{where}.template.parameters[{index}]": text for index, text in enumerate(parameters or ())}
    return {place: text for place, text in found.items() if text}
