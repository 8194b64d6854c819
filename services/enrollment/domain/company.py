"""Leads of one company: a stop rule met by one of them may stop the others in the same sequence."""

from __future__ import annotations

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.identities import normalise_company
from services.enrollment.domain.work import Work
from services.enrollment.domain.world import World
from shared.events.definition import StopRule
from shared.events.enrollment import CompanyStopAsked


def company_hash(world: World, organization_id: str, company: str | None) -> str | None:
    """The organization's keyed hash of a company's name; None without one."""
    normal = normalise_company(company) if company else None
    return world.address_hash(organization_id, "company", normal) if normal is not None else None


def ask_company(work: Work, state: Enrollment, rule: StopRule) -> Enrollment:
    """Orders the stop of the other leads of the lead's company, once for each signal."""
    lead = work.find_lead(state.lead_id)
    if lead is None or rule.on in state.company_asked:
        return state
    hashed = company_hash(work.world, work.organization_id, lead.company)
    if hashed is None:
        return state
    return work.on_enrollment(state, CompanyStopAsked(signal=rule.on, do=rule.do, company_hash=hashed))
