"""A decision's rows in the store's own types; identities are hashed on the way."""

from __future__ import annotations

from services.enrollment.domain.handling import Decision
from services.enrollment.domain.rows import rows_of
from services.enrollment.domain.world import World
from shared.persistence.eventstore import (
    BulkRow,
    CatalogueRow,
    CompanyRow,
    CompanyStop,
    Effects,
    EventStore,
    FigureRow,
    IdentityRow,
    QuotaKey,
    QuotaTake,
    SuppressionKey,
    SuppressionRow,
    TimerKey,
    TimerRow,
    TimerWake,
)


def effects_of(decision: Decision, world: World, store: EventStore) -> Effects:
    """What is written beside the decision's events. ``world`` is as it was before the decision."""
    rows = rows_of(decision, world)
    return Effects(
        timers=[TimerRow(*timer) for timer in rows.timers],
        timers_gone=[TimerKey(*key) for key in rows.timers_gone],
        timers_woken=[
            TimerWake(wake.blocked_on, wake.organization_id, wake.at, wake.spread_seconds) for wake in rows.woken
        ],
        quotas=[QuotaTake(*take) for take in rows.quotas],
        quotas_given_back=[QuotaKey(*key) for key in rows.quotas_given_back],
        identities=[
            IdentityRow(
                claim.organization_id,
                claim.kind,
                store.hash_identity(claim.organization_id, claim.kind, claim.normalised),
                claim.lead_id,
            )
            for claim in rows.claims
        ],
        identities_gone=list(rows.erased),
        keys_gone=list(rows.erased),
        suppressions=[SuppressionRow(*suppression) for suppression in rows.suppressions],
        suppressions_gone=[SuppressionKey(*key) for key in rows.suppressions_gone],
        figures=[FigureRow(*figure) for figure in rows.figures],
        figures_gone=list(rows.figures_gone),
        catalogue=[CatalogueRow(*listing) for listing in rows.catalogue],
        bulks=[BulkRow(*mark) for mark in rows.bulks],
        companies=[CompanyRow(*company) for company in rows.companies],
        company_stops=[CompanyStop(*stop) for stop in rows.company_stops],
    )
