"""What records of the log are made of: texts alone, of which every language writes equal bytes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Count = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,18})$")]
"""A whole number from zero."""

Minor = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,18})$")]
"""An amount in minor units."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A digest in hexadecimal."""


class Logged(BaseModel):
    """A record of the log, or a part of one; nothing else may stand in it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)
