"""What requests say in their bodies."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A field it does not know is refused by name: a misspelled one would be passed over in silence."""

    model_config = ConfigDict(extra="forbid")
