"""What a file of cases says, row by row: the shapes between the database and the spreadsheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date


@dataclass(frozen=True, slots=True)
class SheetMember:
    """A bank entry or a disclosed line of a case, as a reader needs it; amounts in fen.

    Attributes:
        side: ``bank`` or ``ledger``.
        name: ``funds/{fund}/bankEntries/{bank_entry}`` or ``funds/{fund}/lines/{line}``.
        amount_minor: a credit or a receipt is positive.
        open_minor: what of it is not matched, signed likewise.
        date: the bank's booking date, or the day the line counts for.
        reference: the bank's reference or end-to-end id, or the payment's id.
        text: the bank's text, or the line's summary.
        counterparty_name: the other side, as the bank or the ledger has it.
        counterparty_account: its account.
    """

    side: str
    name: str
    amount_minor: int
    open_minor: int
    date: date
    reference: str
    text: str
    counterparty_name: str
    counterparty_account: str


@dataclass(frozen=True, slots=True)
class SheetCase:
    """A case as it goes into a file; amounts in fen.

    Attributes:
        case: ``funds/{fund}/cases/{case}``.
        etag: as it was read; comes back with the filled-in file.
        kind: a name of `CaseKind` without its prefix.
        cause: the likely cause.
        state: a name of `CaseState` without its prefix.
        amount_minor: the bank's side less the ledger's, of what is open.
        weight_minor: the sum of what is open, without signs.
        currency: ISO 4217 code.
        oldest_date: the oldest day among its members.
        due_date: by when it should be closed; None while nobody has said so.
        age_days: days since `oldest_date`.
        assignee: ``parties/{party}/persons/{person}``; empty for nobody's.
        detail: what differs, in one sentence.
        account: ``funds/{fund}/bankAccounts/{bank_account}``.
        members: entries first, the oldest first.
    """

    case: str
    etag: str
    kind: str
    cause: str
    state: str
    amount_minor: int
    weight_minor: int
    currency: str
    oldest_date: date
    due_date: date | None
    age_days: int
    assignee: str
    detail: str
    account: str
    members: tuple[SheetMember, ...]


@dataclass(frozen=True, slots=True)
class SheetRow:
    """What a filled-in row says is to be done about a case; text that was left empty is empty.

    Attributes:
        row: its number in the file, as a spreadsheet counts.
        case: ``funds/{fund}/cases/{case}``.
        etag: as it was exported.
        action: a name of `ResolutionAction` without its prefix, such as ``MATCH``.
        allocations: name of a row and how much of it in signed fen, None for all that is open of
            it; none at all for everything that is open of the case's members.
        book: ``COMMON`` or ``MAINTENANCE``, of what posts a line.
        category: of what posts a line.
        summary: of what posts a line.
        wait_until: of WAIT, until the end of which day.
        bank_reference: of SEND_BACK, the bank's number of the inquiry.
        reason: why.
    """

    row: int
    case: str
    etag: str
    action: str
    allocations: tuple[tuple[str, int | None], ...]
    book: str
    category: str
    summary: str
    wait_until: date | None
    bank_reference: str
    reason: str
