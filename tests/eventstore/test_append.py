"""All or nothing, and which conflict is told."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.events.why import TimerClass
from shared.ids import derived_id, new_id
from shared.persistence.eventstore import (
    CatalogueRow,
    Effects,
    EventStore,
    FigureRow,
    IdentityKey,
    IdentityRow,
    IdentityTaken,
    InboxDuplicate,
    InboxKey,
    InboxRow,
    QuotaExceeded,
    QuotaKey,
    QuotaTake,
    StaleVersion,
    StoredAnswer,
    SuppressionKey,
    SuppressionRow,
    TimerKey,
)
from tests.eventstore.builders import NOW, ORGANIZATION, activated, captured, completed, timer

DAY = ("organization", "day:2026-11-20")
MESSAGE = InboxKey(ORGANIZATION, "tendril.commands", "message-1")
IDENTITY = IdentityKey(ORGANIZATION, "email", "ab" * 32)


def everything(aggregate_id: UUID, lead_id: UUID) -> Effects:
    """A row for every side table."""
    return Effects(
        inbox=[InboxRow(*MESSAGE, b'{"ok":true}', aggregate_id, 2)],
        read_versions={lead_id: 0},
        identities=[IdentityRow(*IDENTITY, lead_id)],
        timers=[timer(aggregate_id, 60)],
        quotas=[QuotaTake(ORGANIZATION, *DAY, 5)],
        suppressions=[SuppressionRow(ORGANIZATION, "email", "cd" * 32, "bounce", NOW)],
        figures=[FigureRow(ORGANIZATION, "variant", "a", 3)],
        catalogue=[CatalogueRow(ORGANIZATION, derived_id("sequence"), "active", 1)],
    )


def snapshot(store: EventStore, aggregate_id: UUID, lead_id: UUID) -> tuple[object, ...]:
    """All that an append can change."""
    return (
        store.last_position(),
        store.versions_of([aggregate_id, lead_id]),
        store.inbox([MESSAGE]),
        store.identities([IDENTITY]),
        store.timers_of([aggregate_id]),
        store.quota_used(ORGANIZATION, [DAY]),
        store.suppressed(ORGANIZATION, [("email", "cd" * 32)]),
        store.figures(ORGANIZATION, "variant"),
        store.catalogue(ORGANIZATION),
        store.keys.key_of(lead_id),
        store.meta(),
    )


def test_events_and_every_side_table_are_written_together(store: EventStore) -> None:
    aggregate_id, lead_id = new_id(), new_id()
    effects = everything(aggregate_id, lead_id)
    positions = store.append([activated(aggregate_id), completed(aggregate_id, 2), captured(lead_id)], effects)
    assert positions == [1, 2, 3]
    assert store.inbox([MESSAGE]) == {MESSAGE: StoredAnswer(b'{"ok":true}', 2)}
    assert store.identities([IDENTITY]) == {IDENTITY: lead_id}
    assert store.timers_of([aggregate_id]) == {aggregate_id: effects.timers}
    assert store.quota_used(ORGANIZATION, [DAY]) == {DAY: 1}
    assert store.suppressed(ORGANIZATION, [("email", "cd" * 32), ("sms", "cd" * 32)]) == {
        ("email", "cd" * 32): "bounce"
    }
    assert store.figures(ORGANIZATION, "variant") == {"a": 3}
    assert store.catalogue(ORGANIZATION) == effects.catalogue
    assert store.organizations() == [ORGANIZATION]
    assert store.meta().business_time == NOW


def held_by_a_winner(store: EventStore, winner: UUID) -> None:
    """Someone was first: one of every thing there can be a conflict about."""
    store.append(
        [activated(winner)],
        Effects(
            inbox=[InboxRow(*MESSAGE, b'"first"', winner, 1)],
            identities=[IdentityRow(*IDENTITY, winner)],
            quotas=[QuotaTake(ORGANIZATION, *DAY, 1)],
        ),
    )


@pytest.mark.parametrize("conflict", ["inbox", "version", "read", "identity", "quota"])
def test_a_conflict_leaves_nothing_behind(store: EventStore, conflict: str) -> None:
    winner, aggregate_id, lead_id = new_id(), new_id(), new_id()
    held_by_a_winner(store, winner)
    before = snapshot(store, aggregate_id, lead_id)
    effects = everything(aggregate_id, lead_id)
    events = [activated(aggregate_id), completed(aggregate_id, 2), captured(lead_id)]
    wanted: type[Exception]
    if conflict != "inbox":
        effects.inbox = [InboxRow(ORGANIZATION, "tendril.commands", "message-2", b"{}")]
    if conflict != "identity":
        effects.identities = []
    effects.quotas = [QuotaTake(ORGANIZATION, *DAY, 1 if conflict == "quota" else 2)]
    match conflict:
        case "inbox":
            wanted = InboxDuplicate
        case "identity":
            wanted = IdentityTaken
        case "quota":
            wanted = QuotaExceeded
        case "version":
            events.append(activated(winner))
            wanted = StaleVersion
        case _:
            effects.read_versions[winner] = 0
            wanted = StaleVersion
    with pytest.raises(wanted) as raised:
        store.append(events, effects)
    error = raised.value
    assert snapshot(store, aggregate_id, lead_id) == before
    match error:
        case InboxDuplicate():
            assert error.keys == [MESSAGE]
        case IdentityTaken():
            assert error.rows == [IdentityRow(*IDENTITY, winner)]
        case QuotaExceeded():
            assert error.slots == [QuotaKey(ORGANIZATION, *DAY)]
        case StaleVersion():
            assert error.aggregate_ids == [winner]


def test_a_repeated_message_is_told_apart_from_a_stale_version(store: EventStore) -> None:
    winner = new_id()
    held_by_a_winner(store, winner)
    with pytest.raises(InboxDuplicate):
        store.append([activated(winner)], Effects(inbox=[InboxRow(*MESSAGE, b"{}", winner, 1)]))
    with pytest.raises(StaleVersion):
        store.append([activated(winner)], Effects(inbox=[InboxRow(*MESSAGE[:2], "message-2", b"{}", winner, 1)]))
    assert store.inbox([MESSAGE])[MESSAGE].answer == b'"first"'


def test_only_the_repeated_ones_of_a_batch_are_named(store: EventStore) -> None:
    held_by_a_winner(store, new_id())
    rows = [InboxRow(*MESSAGE, b"{}"), InboxRow(*MESSAGE[:2], "message-2", b"{}")]
    with pytest.raises(InboxDuplicate) as raised:
        store.append([], Effects(inbox=rows))
    assert raised.value.keys == [MESSAGE]


def test_an_answer_without_events_is_kept(store: EventStore) -> None:
    assert store.append([], Effects(inbox=[InboxRow(*MESSAGE, b'{"refused":1}')])) == []
    assert store.inbox([MESSAGE]) == {MESSAGE: StoredAnswer(b'{"refused":1}', None)}
    assert store.last_position() == 0


def test_nothing_to_write_is_nothing_written(store: EventStore) -> None:
    assert store.append([], Effects()) == []


@pytest.mark.parametrize("versions", [(1, 3), (2, 2), (2, 1)])
def test_versions_that_do_not_follow_are_a_broken_batch_or_stale(store: EventStore, versions: tuple[int, int]) -> None:
    aggregate_id = new_id()
    with pytest.raises((ValueError, StaleVersion)):
        store.append([activated(aggregate_id, version) for version in versions])
    assert store.versions_of([aggregate_id]) == {aggregate_id: 0}


def test_the_same_message_twice_in_a_batch_is_refused(store: EventStore) -> None:
    with pytest.raises(ValueError, match="twice"):
        store.append([], Effects(inbox=[InboxRow(*MESSAGE, b"1"), InboxRow(*MESSAGE, b"2")]))
    assert store.inbox([MESSAGE]) == {}


def test_an_identity_of_the_same_lead_again_is_no_conflict(store: EventStore) -> None:
    lead_id = new_id()
    store.append([], Effects(identities=[IdentityRow(*IDENTITY, lead_id)]))
    store.append([], Effects(identities=[IdentityRow(*IDENTITY, lead_id)]))
    assert store.identities([IDENTITY]) == {IDENTITY: lead_id}


def test_identities_of_an_erased_lead_are_free_for_another_in_the_same_append(store: EventStore) -> None:
    erased, other = new_id(), new_id()
    store.append([], Effects(identities=[IdentityRow(*IDENTITY, erased)]))
    store.append([], Effects(identities_gone=[erased], identities=[IdentityRow(*IDENTITY, other)]))
    assert store.identities([IDENTITY]) == {IDENTITY: other}


def test_places_are_taken_up_to_the_limit_and_given_back(store: EventStore) -> None:
    take = QuotaTake(ORGANIZATION, *DAY, 3)
    store.append([], Effects(quotas=[take, take]))
    with pytest.raises(QuotaExceeded):
        store.append([], Effects(quotas=[take, take]))
    store.append([], Effects(quotas=[take]))
    assert store.quota_used(ORGANIZATION, [DAY, ("x", "y")]) == {DAY: 3, ("x", "y"): 0}
    store.append([], Effects(quotas_given_back=[QuotaKey(ORGANIZATION, *DAY)] * 5))
    assert store.quota_used(ORGANIZATION, [DAY]) == {DAY: 0}
    with pytest.raises(QuotaExceeded):
        store.append([], Effects(quotas=[QuotaTake(ORGANIZATION, "new", "slot", 0)]))


def test_a_timer_is_replaced_and_removed(store: EventStore) -> None:
    aggregate_id = new_id()
    store.append([], Effects(timers=[timer(aggregate_id, 5), timer(aggregate_id, name="watchdog")]))
    later = timer(aggregate_id, 90, timer_class=TimerClass.WATCHDOG)
    store.append([], Effects(timers=[later], timers_gone=[TimerKey(aggregate_id, "watchdog")]))
    assert store.timers_of([aggregate_id]) == {aggregate_id: [later]}


def test_suppressions_are_lifted(store: EventStore) -> None:
    row = SuppressionRow(ORGANIZATION, "email", "cd" * 32, "bounce", NOW)
    store.append([], Effects(suppressions=[row, row]))
    store.append([], Effects(suppressions_gone=[SuppressionKey(*row[:3])]))
    assert store.suppressed(ORGANIZATION, [("email", "cd" * 32)]) == {}


def test_figures_add_up(store: EventStore) -> None:
    row = FigureRow(ORGANIZATION, "variant", "a", 2)
    store.append([], Effects(figures=[row, row]))
    store.append([], Effects(figures=[row]))
    assert store.figures(ORGANIZATION, "variant") == {"a": 6}


def test_business_time_never_goes_back(store: EventStore) -> None:
    first, second = new_id(), new_id()
    store.append([activated(first)])
    early = activated(second)
    store.append(
        [
            type(early)(
                **{name: getattr(early, name) for name in early.__slots__ if name != "time"},
                time=NOW.replace(year=2020),
            )
        ]
    )
    assert store.meta().business_time == NOW


def test_folded_effects_keep_what_came_last() -> None:
    aggregate_id = new_id()
    set_then_gone = Effects.folded(
        [Effects(timers=[timer(aggregate_id)]), Effects(timers_gone=[TimerKey(aggregate_id, "step")])]
    )
    assert (set_then_gone.timers, set_then_gone.timers_gone) == ([], [TimerKey(aggregate_id, "step")])
    gone_then_set = Effects.folded(
        [Effects(timers_gone=[TimerKey(aggregate_id, "step")]), Effects(timers=[timer(aggregate_id)])]
    )
    assert (gone_then_set.timers, gone_then_set.timers_gone) == ([timer(aggregate_id)], [])
    take, back = QuotaTake(ORGANIZATION, *DAY, 1), QuotaKey(ORGANIZATION, *DAY)
    settled = Effects.folded([Effects(quotas=[take]), Effects(quotas=[take], quotas_given_back=[back])])
    assert (settled.quotas, settled.quotas_given_back) == ([take], [])
    versions = Effects.folded([Effects(read_versions={aggregate_id: 1}), Effects(read_versions={aggregate_id: 3})])
    assert versions.read_versions == {aggregate_id: 1}


def test_figures_are_counted_and_forgotten_by_kind(store: EventStore) -> None:
    rows = [
        FigureRow("demo", "hours:a", "09", 2),
        FigureRow("demo", "hours:a", "10", 1),
        FigureRow("demo", "b", "x", 1),
    ]
    store.append([], Effects(figures=rows))
    store.append([], Effects(figures=rows[:1]))
    assert store.figures("demo", "hours:a") == {"09": 4, "10": 1}
    store.append([], Effects(figures_gone=[("demo", "hours:a"), ("demo", "none")]))
    assert store.figures("demo", "hours:a") == {}
    assert store.figures("demo", "b") == {"x": 1}
    folded = Effects.folded(
        [Effects(figures=rows), Effects(figures_gone=[("demo", "hours:a")]), Effects(figures=rows[:1])]
    )
    store.append([], folded)
    assert store.figures("demo", "hours:a") == {"09": 2}
