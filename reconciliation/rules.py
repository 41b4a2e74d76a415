"""The rules of a reconciliation: a versioned, validated value that travels with its results."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

_MILLION: Final = 1_000_000
Days = Annotated[int, Field(ge=0, le=366)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]
Words = Annotated[tuple[Word, ...], Field(max_length=200)]


Minor = Annotated[int, Field(ge=0, le=10**12)]

AutomaticRule = Literal[
    "own_id", "reference", "declared_batch", "returns", "amount_window", "subset_sum"
]
"""Rules that may match without a person; what any other rule finds is only proposed."""


def _bound(text: str) -> str:
    """A decimal number of zero or more, exactly as written.

    Raises:
        ValueError: it is not such a number; pydantic names the field.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("must be a decimal number such as 0.001") from None
    if not value.is_finite() or value < 0:
        raise ValueError("must be zero or more")
    return text


Bound = Annotated[str, StringConstraints(pattern=r"^[0-9.]{1,20}$"), AfterValidator(_bound)]


class RulesError(ValueError):
    """A rules file that cannot be used; the message says what is wrong with which rule."""


class Fee(BaseModel):
    """One line of a bank's tariff: what it keeps back from, or adds to, a payment.

    Either a fixed amount, or a rate of the payment's amount, rounded half up to whole fen and then
    held between the least and the greatest charge.

    Attributes:
        name: what the adjustment is called where it is proposed.
        words: if any, the bank's text must have one of them.
        direction: which payments bear it: those that leave the account, those that arrive, or both.
        fixed_minor: the charge in fen; None for a rate.
        per_million: the rate in millionths of the amount (1 per mille is 1000); None if fixed.
        min_minor: the least charge of a rate, in fen.
        max_minor: the greatest charge of a rate, in fen; None for no bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._-]{1,40}$")]
    words: Words = ()
    direction: Literal["out", "in", "both"] = "both"
    fixed_minor: Annotated[int, Field(ge=1, le=10**12)] | None = None
    per_million: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    min_minor: Minor = 0
    max_minor: Minor | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Fixed or a rate, never both; bounds in order, and only where there is a rate."""
        if (self.fixed_minor is None) == (self.per_million is None):
            raise ValueError("needs either fixed_minor or per_million")
        if self.fixed_minor is not None and (self.min_minor or self.max_minor is not None):
            raise ValueError("a fixed charge has no bounds")
        if self.max_minor is not None and self.max_minor < self.min_minor:
            raise ValueError("max_minor is below min_minor")
        return self


Weight = Annotated[int, Field(ge=-10_000, le=10_000)]
"""What a comparison says, in hundredths of a bit: 100 doubles the odds that two rows are one."""


class Agreement(BaseModel):
    """Weights of a field that is the same on both sides or is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agrees: Weight
    differs: Weight


class Likeness(BaseModel):
    """Weights of words: the same, the same but cut short, alike in part, or different."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    equal: Weight
    cut: Weight
    shared: Weight
    differs: Weight


class Step(BaseModel):
    """A weight for everything up to a number that no step before it has covered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    up_to: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
    weight: Weight


def _rising(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps in order.

    Raises:
        ValueError: they are not; pydantic names the field.
    """
    bounds = [step.up_to for step in steps]
    if bounds != sorted(set(bounds)):
        raise ValueError("steps must rise")
    return steps


Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=40), AfterValidator(_rising)]


def _steps(*pairs: tuple[int, int]) -> tuple[Step, ...]:
    return tuple(Step(up_to=bound, weight=weight) for bound, weight in pairs)


class Ranking(BaseModel):
    """How the candidates of an open row are ordered for a person. Nothing here makes a match.

    A score is the sum of its fields' weights; a field that one side lacks weighs nothing. Equal
    scores stay in a fixed order. The weights are judgements: an identifier of ours outweighs all
    the rest, the very same amount weighs more than any date, and of words those weigh that few
    other rows have.

    Attributes:
        own_id: our own payment or end-to-end id.
        reference: references, as a person would read them.
        batch_id: the name of a batch.
        counterparty_account: the counterparty's account.
        counterparty_name: the counterparty's name.
        text: the wording, beside `text_bit`.
        text_bit: added for every time that the rows compared halve until only those are left
            that have the same beginning, or the same word.
        amount_equal: the very same amount.
        amount_charge: an amount that a line of the tariff explains to the fen.
        amount_steps: other amounts, by their difference in thousandths of the ledger's.
        amount_beyond: amounts that differ by more than the last step.
        days_steps: the bank's date less the ledger's, in days: a bank books afterwards.
        days_beyond: more days than the last step.
        reach_permille: rows whose amounts differ by more are no candidates, nor are
        reach_days_before: entries booked more days than this before the line, and
        reach_days_after: entries booked more days than this after it.
        best: how many candidates of a row are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    own_id: Agreement = Agreement(agrees=3_000, differs=-1_500)
    reference: Agreement = Agreement(agrees=1_000, differs=-200)
    batch_id: Agreement = Agreement(agrees=800, differs=-400)
    counterparty_account: Agreement = Agreement(agrees=1_000, differs=-500)
    counterparty_name: Likeness = Likeness(equal=500, cut=400, shared=100, differs=-400)
    text: Likeness = Likeness(equal=0, cut=-100, shared=-400, differs=-800)
    text_bit: Annotated[int, Field(ge=0, le=1_000)] = 100
    amount_equal: Weight = 1_000
    amount_charge: Weight = 800
    amount_steps: Steps = _steps((10, 150), (30, 100), (50, 0), (70, -150), (100, -400))
    amount_beyond: Weight = -800
    days_steps: Steps = _steps((-4, -1_000), (-1, -300), (2, 300), (6, 0), (21, -250))
    days_beyond: Weight = -1_000
    reach_permille: Annotated[int, Field(ge=0, le=1_000)] = 150
    reach_days_before: Days = 3
    reach_days_after: Days = 31
    best: Annotated[int, Field(ge=1, le=100)] = 10


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """How often a rule has matched by itself under the same rules, and been wrong.

    Attributes:
        rules_version: version and digest of the rules.
        rule: its name.
        made: matches that it made.
        reversed: those of them that a person took apart for good.
    """

    rules_version: str
    rule: str
    made: int
    reversed: int

    @property
    def reversed_per_million(self) -> int:
        """Reversed of a million, rounded up: one of very many is not none."""
        return -(-self.reversed * _MILLION // max(self.made, 1))


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
        automatic: rules whose matches need no person; what another rule finds is proposed.
        fees: the banks' tariff. A difference that a line of it explains to the fen is proposed as
            an adjustment; of several lines that do, the first is named.
        subset_items: how many rows a sum that nobody declared may have at most.
        subset_candidates: with more rows to choose from, a sum is not searched for.
        subset_states: how many partial sums one search may look at.
        subset_account_states: how many rows and partial sums all searches of one account may look
            at together, so that no account can hold up a night.
        subset_automatic_e: a sum found is matched automatically only if at most this many such
            sums are to be expected by accident, a decimal number; proposed otherwise. Zero means
            that no sum is automatic.
        ranking: how candidates are ordered where a person has to choose.
        reversal_limit_per_million: of a million matches that a rule made by itself, persons may
            have taken apart so many; with more of them it is automatic no longer.
        reversals_needed: fewer than so many matches taken apart prove nothing against a rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._-]{1,40}$")] = "2026.12"
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
    automatic: tuple[AutomaticRule, ...] = (
        "own_id",
        "reference",
        "declared_batch",
        "returns",
        "amount_window",
        "subset_sum",
    )
    fees: Annotated[tuple[Fee, ...], Field(max_length=100)] = ()
    subset_items: Annotated[int, Field(ge=2, le=6)] = 6
    subset_candidates: Annotated[int, Field(ge=2, le=24)] = 24
    subset_states: Annotated[int, Field(ge=1, le=200_000)] = 200_000
    subset_account_states: Annotated[int, Field(ge=1, le=100_000_000)] = 2_000_000
    subset_automatic_e: Bound = "0.01"
    ranking: Ranking = Ranking()
    reversal_limit_per_million: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    reversals_needed: Annotated[int, Field(ge=1, le=1_000_000)] = 2

    def accident_bound(self) -> Fraction:
        """`subset_automatic_e` as an exact number."""
        return Fraction(self.subset_automatic_e)

    def demoted(self, records: Iterable[RuleRecord]) -> tuple[str, ...]:
        """The automatic rules that persons have had to take back too often, by name."""
        fallen = {record.rule for record in records if self.is_over(record)}
        return tuple(sorted(fallen & set(self.automatic)))

    def is_over(self, record: RuleRecord) -> bool:
        """Whether persons have had to take a rule's matches back too often."""
        enough = record.reversed >= self.reversals_needed
        return enough and record.reversed_per_million > self.reversal_limit_per_million

    def label(self) -> str:
        """Version and digest, as they stand beside every match that these rules made."""
        return f"{self.version} sha256:{self.digest()}"

    def without_automatic(self, names: Iterable[str]) -> Rules:
        """The same rules, but what these find is only proposed."""
        fallen = set(names)
        kept = tuple(name for name in self.automatic if name not in fallen)
        return self.model_copy(update={"automatic": kept})

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
