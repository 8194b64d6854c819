"""The views, one module each."""

from __future__ import annotations

from services.projector.views.attachments import Attachments
from services.projector.views.audit import Audit
from services.projector.views.bulks import BulkRefusals, Bulks
from services.projector.views.enrollments import Enrollments
from services.projector.views.funnels import Funnels
from services.projector.views.leads import Leads
from services.projector.views.messages import Messages
from services.projector.views.notifications import Notifications
from services.projector.views.organizations import Organizations
from services.projector.views.sequences import Sequences, SequenceVersions
from services.projector.views.statistics import Statistics
from services.projector.views.tasks import Tasks
from services.projector.views.templates import Templates
from services.projector.views.timeline import Timeline
from services.projector.views.view import View

__all__ = ["ALL_VIEWS", "View"]

#: Every view of the product, in the order in which their writes go out.
ALL_VIEWS: tuple[View, ...] = (
    Organizations(),
    Sequences(),
    SequenceVersions(),
    Templates(),
    Attachments(),
    Leads(),
    Enrollments(),
    Messages(),
    Timeline(),
    Statistics(),
    Tasks(),
    Bulks(),
    BulkRefusals(),
    Notifications(),
    Audit(),
    Funnels(),
)
