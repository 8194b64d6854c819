"""The demo: a coaching business with a sequence, a funnel that brings leads, and people who answer their mail."""
