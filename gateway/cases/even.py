"""When rows can be matched: open, of one account, and the same sum on both sides. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cases.rows import row_name
from gateway.domain.errors import Reason, invalid, precondition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.cases.rows import Key, OpenRow, Side
    from gateway.domain.errors import GatewayError

_LEAST_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a row is asked for.

    Attributes:
        key: the row.
        amount_minor: signed as the row; None for all that is open of it.
        currency: of the amount; empty where none was said.
    """

    key: Key
    amount_minor: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of an open row is taken, in fen, signed as the row."""

    row: OpenRow
    allocated_minor: int

    @property
    def signed_minor(self) -> int:
        """What it adds to the bank's side less the ledger's."""
        return self.allocated_minor if self.row.key.side == "bank" else -self.allocated_minor


def take(fund_id: str, row: OpenRow, part: Part, path: str) -> Taken:
    """A part of a row, if so much of it is open.

    Raises:
        GatewayError: ITEM_NOT_OPEN; CURRENCY_MISMATCH; AMOUNT_OUT_OF_RANGE for zero or the other
            sign.
    """
    asked = row.open_minor if part.amount_minor is None else part.amount_minor
    if part.currency not in ("", row.currency):
        where = f"{path}.amount.currency"
        raise invalid(Reason.CURRENCY_MISMATCH, where, f"must be {row.currency}")
    if row.open_minor == 0 or abs(asked) > abs(row.open_minor):
        raise _not_open(row_name(fund_id, row.key), row.open_minor)
    if asked * row.open_minor <= 0:
        where = f"{path}.amount.amount_minor"
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, where, "is zero, or has not the row's sign")
    return Taken(row, asked)


def _not_open(name: str, open_minor: int) -> GatewayError:
    message = f"{name} has {open_minor} open, less than is asked of it"
    return precondition(Reason.ITEM_NOT_OPEN, name, message, open_minor=str(open_minor))


def difference(taken: Sequence[Taken]) -> int:
    """The bank's sum less the ledger's."""
    return sum(each.signed_minor for each in taken)


def side_of(taken: Sequence[Taken], side: Side) -> tuple[Taken, ...]:
    """What is taken of one side."""
    return tuple(each for each in taken if each.row.key.side == side)


def require_one_account(taken: Sequence[Taken], case: str) -> None:
    """Nothing is matched across accounts or currencies, and no row twice.

    Raises:
        GatewayError: MATCH_UNEVEN.
    """
    if len({(each.row.account_id, each.row.currency) for each in taken}) != 1:
        raise uneven(case, "the rows are not of one account and one currency")


def require_even(taken: Sequence[Taken], case: str) -> None:
    """Both sides come to the same; two rows of one side may also undo each other.

    Raises:
        GatewayError: MATCH_UNEVEN.
    """
    rest = difference(taken)
    if rest != 0:
        message = f"the bank's side less the ledger's is {rest}, and must be 0"
        raise uneven(case, message, difference_minor=str(rest))
    if len(taken) < _LEAST_ROWS:
        raise uneven(case, "a match needs two rows or more")


def require_distinct(keys: Collection[Key]) -> None:
    """No row is named twice.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    if len(set(keys)) != len(keys):
        raise invalid(Reason.FIELD_INVALID, "resolution.allocations", "names a row twice")


def uneven(case: str, message: str, **metadata: str) -> GatewayError:
    """The refusal of what is no match."""
    return precondition(Reason.MATCH_UNEVEN, case, message, **metadata)
