"""The case policy: by when cases are due, who hears of late ones, and what may be written off."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

if TYPE_CHECKING:
    from pathlib import Path

_MOST_MINOR: Final = 10**12

Minor = Annotated[int, Field(ge=0, le=_MOST_MINOR)]
Days = Annotated[int, Field(ge=0, le=366)]


class PolicyError(ValueError):
    """A policy file that cannot be used; the message says what is wrong with which field."""


class DueTier(BaseModel):
    """How long a case of a weight may take.

    Attributes:
        up_to_minor: the heaviest case it is for, in fen, included; None for any.
        working_days: from the day on which a run first found it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    up_to_minor: Minor | None
    working_days: Annotated[int, Field(ge=0, le=60)]


class CasePolicy(BaseModel):
    """What people who work on cases hold to; amounts in fen.

    Attributes:
        due: by weight, the lightest first; the last one is for any weight.
        escalation_days: a case is escalated each time it is more than so many days past its due
            day: to the assignee's colleagues, to the trustee's checker, to the supervisor.
        write_off_max_minor: the largest difference that one resolution may write off.
        write_off_month_minor: how much a fund may write off in one calendar month, signs aside.
        wait_most_days: how far ahead a case may be left alone.
        accept_max_e: a proposed sum counts as strong if at most so many such sums are to be
            expected by accident, a decimal number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    due: Annotated[tuple[DueTier, ...], Field(min_length=1, max_length=10)] = (
        DueTier(up_to_minor=10_000, working_days=10),
        DueTier(up_to_minor=1_000_000, working_days=5),
        DueTier(up_to_minor=None, working_days=2),
    )
    escalation_days: Annotated[tuple[Days, ...], Field(max_length=9)] = (0, 3, 7)
    write_off_max_minor: Minor = 100
    write_off_month_minor: Minor = 10_000
    wait_most_days: Annotated[int, Field(ge=1, le=92)] = 92
    accept_max_e: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")] = "0.05"

    @field_validator("due")
    @classmethod
    def _cover_every_weight(cls, due: tuple[DueTier, ...]) -> tuple[DueTier, ...]:
        limits = [tier.up_to_minor for tier in due[:-1]]
        if due[-1].up_to_minor is not None or None in limits:
            raise ValueError("the last tier, and only that one, is for any weight")
        if limits != sorted(set(limits)):  # type: ignore[type-var] # None was refused above
            raise ValueError("the tiers must rise")
        return due

    @field_validator("escalation_days")
    @classmethod
    def _rise(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        if list(days) != sorted(set(days)):
            raise ValueError("the days must rise")
        return days

    def accident_bound(self) -> Fraction:
        """`accept_max_e` as an exact number."""
        return Fraction(self.accept_max_e)


def load_policy(path: Path) -> CasePolicy:
    """The policy in a TOML file; what it does not name keeps its default.

    Raises:
        PolicyError: unreadable file, unknown field, or a value out of bounds.
    """
    try:
        return CasePolicy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise PolicyError(f"{path.name}: {where}: {problem['msg']}") from error
    except (OSError, ValueError) as error:  # a parser's error is a ValueError
        raise PolicyError(f"{path.name} cannot be read: {error}") from error
