"""A few people under every order of funnels' messages, orders and signals: identities, consent, membership."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import AlreadyEnrolled, DomainError, Exclusive
from services.enrollment.domain.evolving import evolve_any
from services.enrollment.domain.lead import Lead
from shared.events.engagement import RecordSignal
from shared.events.enrollment import CancelEnrollment, Enroll, RecordSent
from shared.events.lead import (
    EditLead,
    EraseLead,
    InboundLead,
    LeadBody,
    LeadConverted,
    LeadCreated,
    LeadUpdated,
    MeetingBooked,
)
from shared.events.organization import SetOrganization
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, days, definition, email

MOST_OPEN = 2
GROUPED = [derived_id("test", name) for name in ("sales", "care")]
SEQUENCES = [SEQUENCE, *GROUPED]
KINDS = (LeadCreated, LeadUpdated, LeadConverted, MeetingBooked)

emails = st.sampled_from(["a@example.com", "b@example.com", "c@example.com", None])
externals = st.sampled_from(["e1", "e2", None])
phones = st.sampled_from(["+4915112345671", "+4915112345672", None])
hours = st.integers(0, 4)
CONSENTS: st.SearchStrategy[Any] = st.sampled_from([None, {"email": True}, {"email": False}])


class People(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.scenario = Scenario([email("one"), email("two", delay=days(1))], enrolled=False)
        self.world = self.scenario.world
        self.world.send(SetOrganization(max_open_enrollments=MOST_OPEN))
        for sequence_id in GROUPED:
            drafted = definition(
                [email("one")],
                settings={"exclusive": "group", "reenroll": {"after_days": 0}},
                trigger={"start": "manual"},
            )
            self.world.send(DraftSequence(sequence_id=sequence_id, definition=drafted, activate=True))
        self.sent = 0
        self.unsubscribed: set[UUID] = set()

    # --- what happens -----------------------------------------------------------------------------------------------

    @rule(
        cls=st.sampled_from(KINDS),
        mail=emails,
        external=externals,
        phone=phones,
        hour=st.one_of(st.none(), hours),
        name=st.sampled_from(["Ada", "Bob", None]),
        consent=CONSENTS,
    )
    def funnel_says(
        self,
        cls: type[InboundLead],
        mail: str | None,
        external: str | None,
        phone: str | None,
        hour: int | None,
        name: str | None,
        consent: Any,
    ) -> None:
        if not mail and not phone and (cls is LeadCreated or not external):
            return
        self.sent += 1
        body = LeadBody(email=mail, external_id=external, phone=phone, first_name=name, consent=consent)
        at = None if hour is None else T + timedelta(hours=hour)
        message = cls(organization_id="demo", occurred_at=at, lead=body)
        message_id = f"m{self.sent}"
        first = self.world.send(message, message_id=message_id)
        again = self.world.send(message, message_id=message_id)
        assert again.result["lead_id"] == first.result["lead_id"]
        assert [type(each.event).__name__ for each in again.changes] == []

    @precondition(lambda self: self.leads)
    @rule(data=st.data(), sequence_id=st.sampled_from(SEQUENCES))
    def enrolled_by_hand(self, data: st.DataObject, sequence_id: UUID) -> None:
        lead = data.draw(st.sampled_from(self.leads))
        inside = [each for each in lead.enrollments.values() if each.ended_at is None]
        try:
            self.world.send(Enroll(lead_id=lead.id, sequence_id=sequence_id))
        except AlreadyEnrolled:
            assert lead.memberships(sequence_id)
        except Exclusive:
            assert len(inside) == MOST_OPEN or {each.sequence_id for each in inside} & set(GROUPED)
        except DomainError:
            return

    @precondition(lambda self: self.open_enrollments)
    @rule(data=st.data())
    def cancelled(self, data: st.DataObject) -> None:
        enrollment = data.draw(st.sampled_from(self.open_enrollments))
        self.world.send(CancelEnrollment(enrollment_id=enrollment.id))

    @rule(by=st.sampled_from([1, 30]))
    def mailed(self, by: int) -> None:
        self.world.advance(timedelta(hours=by))
        for timer in self.world.due():
            self.world.wake(timer)
        for enrollment in self.enrollments:
            flight = enrollment.in_flight
            if flight is not None:
                self.world.send(
                    RecordSent(
                        enrollment_id=enrollment.id,
                        execution=flight.execution,
                        attempt=flight.attempt,
                        dispatch_id=flight.dispatch_id,
                        sent_at=self.world.now,
                    )
                )

    @precondition(lambda self: any(each.sent for each in self.enrollments))
    @rule(data=st.data())
    def unsubscribes(self, data: st.DataObject) -> None:
        enrollment = data.draw(st.sampled_from([each for each in self.enrollments if each.sent]))
        self.world.send(
            RecordSignal(
                enrollment_id=enrollment.id, execution=1, signal="unsubscribed", at=self.world.now, source="one_click"
            )
        )
        self.unsubscribed.add(enrollment.lead_id)

    @precondition(lambda self: self.unsubscribed)
    @rule(data=st.data())
    def opts_in_by_hand(self, data: st.DataObject) -> None:
        lead_id = data.draw(st.sampled_from(sorted(self.unsubscribed)))
        with contextlib.suppress(DomainError):
            self.world.send(EditLead(lead_id=lead_id, lead=LeadBody(consent={"email": True})))
            self.unsubscribed.discard(lead_id)

    @precondition(lambda self: len(self.leads) > 2)
    @rule(data=st.data())
    def erased(self, data: st.DataObject) -> None:
        self.world.send(EraseLead(lead_id=data.draw(st.sampled_from(self.leads)).id))

    # --- what must hold ---------------------------------------------------------------------------------------------

    @property
    def leads(self) -> list[Lead]:
        return [each for each in self.world.states.values() if isinstance(each, Lead) and not each.erased]

    @property
    def enrollments(self) -> list[Enrollment]:
        return [each for each in self.world.states.values() if isinstance(each, Enrollment)]

    @property
    def open_enrollments(self) -> list[Enrollment]:
        return [each for each in self.enrollments if each.is_open]

    @invariant()
    def a_lead_is_in_no_sequence_twice_and_in_no_more_than_allowed(self) -> None:
        for lead in self.leads:
            inside = Counter(each.sequence_id for each in lead.enrollments.values() if each.ended_at is None)
            assert all(count == 1 for count in inside.values())
            assert inside.total() <= MOST_OPEN
            assert len(inside.keys() & set(GROUPED)) <= 1

    @invariant()
    def a_lead_and_its_enrollments_agree(self) -> None:
        by_lead = {(each.lead_id, each.id): each.is_open for each in self.enrollments}
        known = {
            (lead.id, enrollment_id): membership.ended_at is None
            for lead in self.world.states.values()
            if isinstance(lead, Lead)
            for enrollment_id, membership in lead.enrollments.items()
        }
        assert by_lead == known

    @invariant()
    def an_identity_names_whoever_has_it(self) -> None:
        for lead in self.leads:
            for kind in ("email", "external_id"):
                value = getattr(lead, kind)
                if value is not None:
                    assert self.world.identities["demo", kind, value] == lead.id
        owners = set(self.world.identities.values())
        assert owners <= {lead.id for lead in self.leads}, "an erased lead keeps no identity"

    @invariant()
    def an_unsubscribe_holds_until_an_explicit_opt_in(self) -> None:
        for lead in self.leads:
            assert ("email" in lead.unsubscribed) == (lead.id in self.unsubscribed)

    @invariant()
    def the_log_alone_gives_the_same_leads(self) -> None:
        folded: dict[UUID, Any] = {}
        for change in self.world.log:
            if change.aggregate == "lead":
                folded[change.id] = evolve_any(
                    "lead",
                    folded.get(change.id),
                    change.event,
                    id=change.id,
                    organization_id="demo",
                    lead_id=change.id,
                    at=self.world.now,
                )
        for lead_id, state in folded.items():
            known = self.world.states[lead_id]
            assert isinstance(known, Lead)
            assert (state.email, state.stamps, state.consent) == (known.email, known.stamps, known.consent)
            assert state.enrollments.keys() == known.enrollments.keys()


TestPeople = People.TestCase
TestPeople.settings = settings(stateful_step_count=25, deadline=None)


@st.composite
def facts(draw: st.DrawFn) -> list[InboundLead]:
    """What several messages, each with its own moment, say of one person."""

    def body() -> LeadBody:
        return LeadBody(
            email="a@example.com",
            first_name=draw(st.sampled_from(["Ada", "Bob", None])),
            status=draw(st.sampled_from(["New", "Won", None])),
            score=draw(st.sampled_from([None, 0, 10, 90])),
            tags=draw(st.sampled_from([None, ["x"], ["y"]])),
            consent=draw(CONSENTS),
            custom_fields=draw(st.sampled_from([None, {"n": 1}, {"n": 2, "m": "z"}])),
        )

    moments: list[datetime] = [T + timedelta(hours=draw(hours)) for _ in range(draw(st.integers(2, 5)))]
    return [draw(st.sampled_from(KINDS))(organization_id="demo", occurred_at=at, lead=body()) for at in moments]


def person(messages: list[InboundLead]) -> tuple[Any, ...]:
    scenario = Scenario(enrolled=False).later(days=30)  # nothing that is said lies ahead
    for number, message in enumerate(messages):
        decision = scenario.world.send(message, message_id=f"m{number}")
    lead = scenario.world.lead(UUID(str(decision.result["lead_id"])))
    assert lead is not None
    return (
        lead.first_name,
        lead.status,
        lead.score,
        lead.tags,
        dict(lead.consent),
        dict(lead.custom_fields),
        lead.won,
        lead.meetings,
    )


@settings(deadline=None)  # a busy machine takes its time
@given(said=facts(), data=st.data())
def test_what_is_known_of_a_person_does_not_depend_on_the_order_of_messages(
    said: list[InboundLead], data: st.DataObject
) -> None:
    assert person(said) == person(data.draw(st.permutations(said)))
