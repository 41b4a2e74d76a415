"""What a run decides: a pure function of its snapshot, the day and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.kernel import match

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from gateway.night.snapshot import Account, Snapshot
    from reconciliation.rules import Rules

_MEMBER: Final = ["side", "fund_id", "account_id", "member_id"]


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of one account, fen: closing - ledger - (open bank - open ledger) = difference.

    Attributes:
        account: what bank and ledger say.
        bank_closing_minor: the last closing balance known, without a statement the opening one.
        open_bank_minor: the sum of bank entries without a line.
        open_ledger_minor: the sum of lines without a bank entry.
        findings: why the account is not proved, a name and a sentence each.
    """

    account: Account
    bank_closing_minor: int
    open_bank_minor: int
    open_ledger_minor: int
    findings: tuple[str, ...]

    @property
    def difference_minor(self) -> int:
        """What nothing explains."""
        open_minor = self.open_bank_minor - self.open_ledger_minor
        return self.bank_closing_minor - self.account.ledger_minor - open_minor

    @property
    def proved(self) -> bool:
        """Whether the difference is zero and nothing else was found."""
        return self.difference_minor == 0 and not self.findings


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a run had before it, and what it made of it."""

    bank_entry_count: int
    line_count: int
    matched_bank_entry_count: int
    matched_line_count: int
    case_count: int
    proved_account_count: int
    unproved_account_count: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run writes.

    Attributes:
        matches: one row a member: fund_id, match_id, side, account_id, member_id, status, rule,
            allocated_minor, value_date (of the match: the latest day among its bank entries).
        cases: one row a case of a fund: fund_id, case_id, account_id, kind, cause, detail,
            amount_minor (bank less ledger), oldest_date.
        members: one row a member of a case: fund_id, case_id, side, member_id.
        proofs: one an account.
        counts: the figures.
    """

    matches: pl.DataFrame
    cases: pl.DataFrame
    members: pl.DataFrame
    proofs: tuple[Proof, ...]
    counts: Counts


def decide(snapshot: Snapshot, day: date, rules: Rules) -> Outcome:
    """Matches what is open, names the rest and proves the balances.

    Raises:
        reconciliation.matching.kernel.ConservationError: an open item ended nowhere, or twice.
        reconciliation.frames.InputError: the snapshot does not fit the kernel's shapes.
    """
    result = match(snapshot.bank, snapshot.ledger, rules, day, snapshot.closed)
    agreed = result.matches.filter(status="automatic")
    matches = _with_value_date(_by_fund(agreed), snapshot)
    open_ = pl.concat([result.cases, proposals(result.matches)])
    members = _with_date(_by_fund(open_), snapshot)
    cases = _cases(members)
    proofs = tuple(_proofs(snapshot.accounts, members, day))
    return Outcome(
        matches=matches,
        cases=cases,
        members=members.select("fund_id", "case_id", "side", "member_id"),
        proofs=proofs,
        counts=_counts(agreed, open_, cases, proofs),
    )


def proposals(matches: pl.DataFrame) -> pl.DataFrame:
    """Proposed matches as cases for a person: nothing of them is matched until somebody says so."""
    members = matches.filter(pl.col("status") == "proposed", pl.col("side") != "adjustment")
    count = pl.len().over("match_id")
    differs = pl.col("rule") == "fee_adjustment"
    sentence = pl.format(
        "{} entries and lines fit together by {}; a person may accept it",
        count,
        pl.col("rule").str.replace_all("_", " "),
    )
    return members.select(
        pl.col("match_id").alias("case_id"),
        pl.when(differs)
        .then(pl.lit("amount_differs"))
        .otherwise(pl.lit("ambiguous"))
        .alias("kind"),
        pl.concat_str(pl.lit("proposed_"), "rule").alias("cause"),
        "side",
        "account_id",
        "currency",
        "member_id",
        pl.col("allocated_minor").alias("amount_minor"),
        sentence.alias("detail"),
    )


def _by_fund(frame: pl.DataFrame) -> pl.DataFrame:
    """``fund/account`` taken apart again."""
    parts = pl.col("account_id").str.split_exact("/", 1)
    return frame.with_columns(
        fund_id=parts.struct.field("field_0"), account_id=parts.struct.field("field_1")
    )


def _dates(snapshot: Snapshot) -> pl.DataFrame:
    """The day of every row, and the bank's value date where there is one."""
    bank = snapshot.bank.select(
        "account_id",
        side=pl.lit("bank"),
        member_id="entry_id",
        date="booking_date",
        value_date=pl.coalesce("value_date", "booking_date"),
    )
    ledger = snapshot.ledger.select(
        "account_id",
        side=pl.lit("ledger"),
        member_id="line_id",
        date="effective_date",
        value_date=pl.lit(None, dtype=pl.Date),
    )
    return _by_fund(pl.concat([bank, ledger]))


def _with_date(members: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    dates = _dates(snapshot).select(*_MEMBER, "date")
    return members.join(dates, on=_MEMBER, how="left", maintain_order="left")


def _with_value_date(matches: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    dates = _dates(snapshot).select(*_MEMBER, "value_date")
    dated = matches.join(dates, on=_MEMBER, how="left", maintain_order="left")
    return dated.with_columns(pl.col("value_date").max().over("match_id"))


def _cases(members: pl.DataFrame) -> pl.DataFrame:
    """One row a case; of a case that reaches over two funds each fund has its own members only."""
    signed = (
        pl.when(pl.col("side") == "bank")
        .then(pl.col("amount_minor"))
        .otherwise(-pl.col("amount_minor"))
    )
    first = [pl.col(name).first() for name in ("account_id", "kind", "cause", "detail")]
    return members.group_by("fund_id", "case_id", maintain_order=True).agg(
        *first, amount_minor=signed.sum(), oldest_date=pl.col("date").min()
    )


def _proofs(accounts: tuple[Account, ...], members: pl.DataFrame, day: date) -> Iterator[Proof]:
    sums = members.group_by("fund_id", "account_id", "side").agg(pl.col("amount_minor").sum())
    open_minor = {(fund, account, side): total for fund, account, side, total in sums.iter_rows()}
    for account in accounts:
        key = (account.fund_id, account.account_id)
        closing = account.closing_minor
        yield Proof(
            account=account,
            bank_closing_minor=account.opening_minor if closing is None else closing,
            open_bank_minor=open_minor.get((*key, "bank"), 0),
            open_ledger_minor=open_minor.get((*key, "ledger"), 0),
            findings=tuple(_findings(account, day)),
        )


def _findings(account: Account, day: date) -> Iterator[str]:
    """What is wrong with the bank's side, before any arithmetic."""
    until = account.covered_until
    if until is None:
        yield f"statement_missing: there is no statement up to {day}"
    elif until < day:
        yield f"statement_missing: no statement covers {day}, the last one ends on {until}"
    if account.inconsistent:
        yield f"inconsistent: opening and entries of the statement to {until} miss its closing"
    if account.broken_on is not None:
        yield (
            f"discontinuous: the statement from {account.broken_on} does not open with the closing"
            " balance before it"
        )


def _counts(
    agreed: pl.DataFrame, open_: pl.DataFrame, cases: pl.DataFrame, proofs: tuple[Proof, ...]
) -> Counts:
    matched_bank, matched_lines = _by_side(agreed)
    open_bank, open_lines = _by_side(open_)
    proved = sum(proof.proved for proof in proofs)
    return Counts(
        bank_entry_count=matched_bank + open_bank,
        line_count=matched_lines + open_lines,
        matched_bank_entry_count=matched_bank,
        matched_line_count=matched_lines,
        case_count=cases.height,
        proved_account_count=proved,
        unproved_account_count=len(proofs) - proved,
    )


def _by_side(members: pl.DataFrame) -> tuple[int, int]:
    on_bank = members.filter(pl.col("side") == "bank").height
    return on_bank, members.height - on_bank
