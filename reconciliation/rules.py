"""The rules of a reconciliation: a versioned, validated value that travels with its results."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

Days = Annotated[int, Field(ge=0, le=366)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]
Words = Annotated[tuple[Word, ...], Field(max_length=200)]


class RulesError(ValueError):
    """A rules file that cannot be used; the message says what is wrong with which rule."""


class Rules(BaseModel):
    """What a run holds to. Change anything and give it a new version.

    Attributes:
        version: names these rules in every match; part of each match's id.
        window_days_before: how many calendar days a bank entry may be booked before the ledger
            line's date and still be matched by amount alone (a receipt posted late).
        window_days_after: the same, after it (a payment that a weekend or the bank held up).
        transit_days: a ledger line no older than this may still be on its way to the bank.
        candidate_limit: how many pairs of equal amount one account may have before the search
            for unique pairs stops and all of them become one case.
        fee_words: what a bank's own charges are called, in text or counterparty name.
        fee_max_minor: a larger debit, in fen, is never taken for a charge.
        interest_words: what interest paid by the bank is called.
        return_words: what a payment that comes back is called.
        empty_ids: identifiers and references that banks write when there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._-]{1,40}$")] = "2026.11"
    window_days_before: Days = 3
    window_days_after: Days = 5
    transit_days: Days = 5
    candidate_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    fee_words: Words = (
        "手续费",
        "服务费",
        "工本费",
        "汇划费",
        "短信费",
        "账户管理费",
        "账户维护费",
        "fee",
        "fees",
        "charge",
        "charges",
    )
    fee_max_minor: Annotated[int, Field(ge=0)] = 50_000
    interest_words: Words = ("结息", "利息", "interest")
    return_words: Words = ("退票", "退汇", "退回", "冲正", "return", "returned", "reversal")
    empty_ids: Words = ("NOTPROVIDED", "NOT PROVIDED", "NONREF")

    def digest(self) -> str:
        """SHA-256 of the rules in canonical JSON, hexadecimal: equal rules, equal digest."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_rules(path: Path) -> Rules:
    """Rules from a TOML or JSON file (by its suffix); what it does not name keeps its default.

    Raises:
        RulesError: unreadable file, unknown rule, or a value out of bounds.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
        return Rules.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise RulesError(f"{path.name}: {where}: {problem['msg']}") from error
    except (OSError, ValueError) as error:  # both parsers' errors are ValueErrors
        raise RulesError(f"{path.name} cannot be read: {error}") from error
