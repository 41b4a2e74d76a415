"""Which proposals of a run may be accepted by the hundred. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.cases.policy import CasePolicy
    from gateway.cases.rows import OpenRow, Side

PROPOSED: Final = "proposed_"
"""Begins the cause of a case that is a run's proposal; the rule's name follows."""

_EXACT: Final = frozenset({"own_id", "reference", "declared_batch", "returns", "equal_amounts"})
"""What these find, they find by what both sides say; only the rules ask for a person."""


def weakness(
    cause: str,
    expected_accidents: str,
    members: Sequence[OpenRow],
    demoted: Collection[str],
    policy: CasePolicy,
) -> str:
    """Why a case is no strong proposal; empty if it is one.

    Strong is what a run proposed by a rule that people did not have to correct too often, of rows
    that are open in full, and

    - by ids, references or a declared batch, or as many entries as lines of one amount: always;
    - as a sum: where hardly any such sum is to be expected by accident;
    - by amount and date: one entry and one line whose other sides agree, or one names none;
    - as a bank's charge (``fee_adjustment``): where the bank took more than the ledger has.

    Args:
        cause: of the case.
        expected_accidents: of a sum, a fraction such as ``3/1000``; empty if nobody said.
        members: the rows of the case.
        demoted: rules over their limit of reversals.
        policy: the case policy.
    """
    rule = cause.removeprefix(PROPOSED)
    if not cause.startswith(PROPOSED):
        return "no run proposed a match"
    if rule in demoted:
        return f"people took back too many matches of the rule {rule}"
    if not members or any(row.match_id or row.taken_minor for row in members):
        return "a member is matched already, at least in part"
    if rule in _EXACT:
        return ""
    judge = _JUDGES.get(rule)
    return (
        f"nothing is known of the rule {rule}"
        if judge is None
        else judge(members, expected_accidents, policy)
    )


def _of_sum(_: Sequence[OpenRow], expected_accidents: str, policy: CasePolicy) -> str:
    if not expected_accidents:
        return "nobody said how many such sums are to be expected by accident"
    likely = Fraction(expected_accidents) > policy.accident_bound()
    return "too many such sums are to be expected by accident" if likely else ""


def _of_amount(members: Sequence[OpenRow], *_: object) -> str:
    if len(_side(members, "bank")) != 1 or len(_side(members, "ledger")) != 1:
        return "it is not one entry and one line"
    accounts = {row.counterparty_account for row in members if row.counterparty_account}
    names = {row.counterparty_name for row in members if row.counterparty_name}
    apart = len(accounts) > 1 or (not accounts and len(names) > 1)
    return "the other sides differ" if apart else ""


def _of_charge(members: Sequence[OpenRow], *_: object) -> str:
    more = sum(row.signed_open_minor for row in members) < 0
    return "" if more else "the bank did not take more than the ledger has"


def _side(members: Sequence[OpenRow], side: Side) -> list[OpenRow]:
    return [row for row in members if row.key.side == side]


_JUDGES: Final[Mapping[str, Callable[[Sequence[OpenRow], str, CasePolicy], str]]] = {
    "subset_sum": _of_sum,
    "amount_window": _of_amount,
    "fee_adjustment": _of_charge,
}
