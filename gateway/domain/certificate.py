"""A night's certificate of a fund: every entry of the bank, and the lines for which it stands.

The certificate itself is small and stands in the log. What it sums up, entry by entry, stands
beside the log under a digest that the certificate has. An entry comes in exactly one certificate as
new; whether it was matched then, or is still open, that certificate and the later ones say. So
whoever has them all has accounted for every fen that the bank has moved.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from gateway.domain.canonical import canonical_json
from gateway.domain.logged import Count, Logged, Minor, Sha256
from gateway.domain.pseudonym import pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEMA: Final = "xinyi.certificate/v1"
DETAILS_SCHEMA: Final = "xinyi.certificate-details/v1"

_ID_DIGITS: Final = 16


class Total(Logged):
    """How many, and their sum.

    Attributes:
        count: how many.
        amount_minor: their sum, minor units.
    """

    count: Count
    amount_minor: Minor


class Totals(Logged):
    """What a certificate's details come to.

    Attributes:
        came: entries that are in no certificate before.
        matched: entries whose match is told here.
        open_entries: the rest: entries for which no line stands.
        open_lines: the rest: lines for which no entry stands.
    """

    came: Total
    matched: Total
    open_entries: Total
    open_lines: Total


class AccountProof(Logged):
    """The balance of one account that evening: closing - ledger - (open bank - open ledger) = 0.

    Attributes:
        account: ``{account}`` of the fund.
        ends: the last characters of its number.
        bank_closing_minor: what the bank says it held.
        ledger_minor: what the lines come to.
        open_bank_minor: entries without a line.
        open_ledger_minor: lines without an entry.
        difference_minor: what nothing explains.
        proved: whether nothing is left to explain, and the statements are in order.
        findings: what stands against it, or was found since, by name: ``statement_missing``, ….
        proof: digest of the account's balance proof, which has that of the one before.
    """

    account: str
    ends: str
    bank_closing_minor: Minor
    ledger_minor: Minor
    open_bank_minor: Minor
    open_ledger_minor: Minor
    difference_minor: Minor
    proved: Literal["yes", "no"]
    findings: Annotated[tuple[str, ...], Field(strict=False)]
    proof: Sha256


class Certificate(Logged):
    """What stands in the log of a fund's night.

    Attributes:
        schema_: of this record.
        fund: ``funds/{fund}``.
        number: of the certificate within the fund, from 1 without gaps.
        date: the day up to whose end was reconciled, ISO 8601.
        run: ``reconciliationRuns/{run}``.
        rules: version and digest of the rules.
        previous: SHA-256 of the certificate before it; empty for the first.
        currency: ISO 4217 code.
        accounts: the balance of each.
        totals: what the details come to.
        details_sha256: of the `Details`.
    """

    schema_: Literal["xinyi.certificate/v1"] = Field(default=SCHEMA, alias="schema")
    fund: str
    number: Count
    date: str
    run: str
    rules: str
    previous: Literal[""] | Sha256
    currency: str
    accounts: Annotated[tuple[AccountProof, ...], Field(strict=False)]
    totals: Totals
    details_sha256: Sha256

    def entry(self) -> bytes:
        """Its entry in the log: canonical JSON (RFC 8785)."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))


class BankEntry(Logged):
    """An entry of the bank.

    Attributes:
        id: of `entry_alias`.
        account: ``{account}`` of the fund.
        date: on which the bank booked it.
        amount_minor: minor units; money that came in above zero.
    """

    id: str
    account: str
    date: str
    amount_minor: Minor


class Part(Logged):
    """What a match has of one entry or line; of a part matched with others the rest stands there.

    Attributes:
        id: of the entry, or the line's number.
        amount_minor: minor units.
    """

    id: str
    amount_minor: Minor


class Match(Logged):
    """Entries and the lines that they stand for; both sides come to the same.

    Attributes:
        rule: by which, or what a person decided.
        entries: of the bank.
        lines: disclosed lines.
    """

    rule: str
    entries: Annotated[tuple[Part, ...], Field(strict=False)]
    lines: Annotated[tuple[Part, ...], Field(strict=False)]


class OpenItem(Logged):
    """An entry or a line for which nothing stands yet, or the rest of it.

    Attributes:
        id: of the entry, or the line's number.
        account: ``{account}`` of the fund.
        date: for which it counts.
        amount_minor: what is open of it, minor units.
        days: its age on the certificate's day.
        kind: what reconciliation calls it; empty before it has looked.
    """

    id: str
    account: str
    date: str
    amount_minor: Minor
    days: Count
    kind: str


class Details(Logged):
    """What a certificate sums up.

    Attributes:
        schema_: of this record.
        fund: ``funds/{fund}``.
        number: of the certificate.
        came: entries that are in no certificate before.
        matches: of those, and of earlier ones that were matched since.
        open_entries: entries for which no line stands, the oldest first.
        open_lines: lines for which no entry stands, the oldest first.
    """

    schema_: Literal["xinyi.certificate-details/v1"] = Field(default=DETAILS_SCHEMA, alias="schema")
    fund: str
    number: Count
    came: Annotated[tuple[BankEntry, ...], Field(strict=False)]
    matches: Annotated[tuple[Match, ...], Field(strict=False)]
    open_entries: Annotated[tuple[OpenItem, ...], Field(strict=False)]
    open_lines: Annotated[tuple[OpenItem, ...], Field(strict=False)]

    def content(self) -> bytes:
        """Its bytes, canonical JSON (RFC 8785): what the certificate has the digest of."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def totals(self) -> Totals:
        """What they come to."""
        return Totals(
            came=_total(self.came),
            matched=_total(part for match in self.matches for part in match.entries),
            open_entries=_total(self.open_entries),
            open_lines=_total(self.open_lines),
        )


def _total(items: Iterable[BankEntry | Part | OpenItem]) -> Total:
    amounts = [int(each.amount_minor) for each in items]
    return Total(count=str(len(amounts)), amount_minor=str(sum(amounts)))


def entry_alias(bank_entry_id: str, salt: bytes) -> str:
    """What an entry is called in public: its own name may tell who paid.

    Args:
        bank_entry_id: its name in the gateway.
        salt: of the fund, told to nobody.
    """
    return pseudonym(salt, b"bank-entry\x00" + bank_entry_id.encode(), _ID_DIGITS)


def contradiction(certificate: Certificate, details: Details) -> str:
    """What does not add up between a certificate and what it sums up; empty where all does."""
    return next(_contradictions(certificate, details), "")


def _contradictions(certificate: Certificate, details: Details) -> Iterator[str]:
    if sha256(details.content()).hexdigest() != certificate.details_sha256:
        yield "its details are not those that the certificate has the digest of"
    if (details.fund, details.number) != (certificate.fund, certificate.number):
        yield "its details are those of another certificate"
    if certificate.totals != details.totals():
        yield "its details do not come to what it says of them"
    for account in certificate.accounts:
        yield from _of_account(account)
    for match in details.matches:
        if _sum(match.entries) != _sum(match.lines):
            yield f"a match by {match.rule} has entries and lines over different sums"
    yield from _unaccounted(details)


def _of_account(account: AccountProof) -> Iterator[str]:
    opened = int(account.open_bank_minor) - int(account.open_ledger_minor)
    left = int(account.bank_closing_minor) - int(account.ledger_minor) - opened
    if left != int(account.difference_minor):
        yield f"the balance of account {account.account} does not come to its difference"
    if left and account.proved == "yes":
        yield f"account {account.account} is said to be proved and is not"


def _unaccounted(details: Details) -> Iterator[str]:
    """Every new entry is matched or open, to the fen."""
    told = Counter[str]()
    for match in details.matches:
        for part in match.entries:
            told[part.id] += int(part.amount_minor)
    for item in details.open_entries:
        told[item.id] += int(item.amount_minor)
    for entry in details.came:
        if told[entry.id] != int(entry.amount_minor):
            yield f"entry {entry.id} of {entry.date} is neither matched nor open to the fen"


def _sum(parts: Iterable[Part]) -> int:
    return sum(int(part.amount_minor) for part in parts)
