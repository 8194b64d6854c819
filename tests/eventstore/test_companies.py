"""Who is of which company, and what is still to be stopped: the same on both databases."""

from __future__ import annotations

from uuid import UUID

from shared.ids import new_id
from shared.persistence.eventstore import CompanyRow, CompanyStop, Effects, EventStore

LEADS = [UUID(int=n) for n in range(1, 6)]


def test_a_companys_leads_come_in_pages_and_a_lead_has_one_company(store: EventStore) -> None:
    store.append([], Effects(companies=[CompanyRow(lead_id, "demo", "acme") for lead_id in LEADS]))
    store.append([], Effects(companies=[CompanyRow(LEADS[1], "demo", "other"), CompanyRow(new_id(), "else", "acme")]))
    assert store.leads_of_company("demo", "acme", None, 2) == [LEADS[0], LEADS[2]]
    assert store.leads_of_company("demo", "acme", LEADS[2], 9) == LEADS[3:]
    assert store.leads_of_company("demo", "other", None, 9) == [LEADS[1]]


def test_an_erased_lead_is_of_no_company(store: EventStore) -> None:
    store.append([], Effects(companies=[CompanyRow(lead_id, "demo", "acme") for lead_id in LEADS]))
    store.append([], Effects(identities_gone=[LEADS[0]]))
    assert store.leads_of_company("demo", "acme", None, 9) == LEADS[1:]
    both = Effects.folded([Effects(companies=[CompanyRow(LEADS[0], "demo", "acme")]), Effects(identities_gone=LEADS)])
    store.append([], both)
    assert store.leads_of_company("demo", "acme", None, 9) == []


def test_a_stop_stands_until_it_has_reached_everybody(store: EventStore) -> None:
    stop = CompanyStop(new_id(), "reply", "demo", new_id(), "exit", "acme")
    store.append([], Effects(company_stops=[stop, stop]))
    store.append([], Effects(company_stops=[stop._replace(do="pause")]))
    assert store.company_stops(9) == [stop]
    store.company_stop_reached(stop, LEADS[2])
    assert store.company_stops(9) == [stop._replace(after=LEADS[2])]
    store.company_stop_reached(stop, None)
    assert store.company_stops(9) == []
