"""What stands on a page, made from what the disclosure says: texts, and nothing to compute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gateway.clock import BANK_ZONE
from gateway.disclosure.lines import shown, state_of
from gateway.domain.case_words import BOOKS_ZH, FINDINGS_ZH, word
from gateway.domain.certificate import Certificate
from gateway.domain.money import format_minor
from gateway.domain.party import ROLES_ZH, Role
from gateway.domain.split import Basis, square_metres

if TYPE_CHECKING:
    from datetime import date

    from gateway.disclosure.detail import Item
    from gateway.disclosure.entry import Line
    from gateway.disclosure.summary import BookSummary, Summary
    from gateway.domain.certificate import Total
    from gateway.domain.describe import Language
    from gateway.domain.split import Share
    from gateway.questions.listing import Question
    from gateway.store import Row

BOOK_NAMES: Final[dict[str, tuple[str, str]]] = {
    "COMMON": (BOOKS_ZH["COMMON"], "Common money"),
    "MAINTENANCE": (BOOKS_ZH["MAINTENANCE"], "Maintenance fund"),
}
STATE_NAMES: Final[dict[str, tuple[str, str]]] = {
    "PENDING": ("待银行确认", "Pending at the bank"),
    "SETTLED": ("已入账", "Settled"),
    "REVERSED": ("已红冲", "Reversed"),
    "RETURNED": ("银行退回", "Returned by the bank"),
}
QUESTION_STATES: Final[dict[str, tuple[str, str]]] = {
    "OPEN": ("待答复", "Waiting"),
    "OVERDUE": ("逾期未答", "Overdue"),
    "ANSWERED": ("已答复", "Answered"),
}
BASIS_NAMES: Final[dict[str, tuple[str, str]]] = {
    "AREA": ("按面积", "By floor area"),
    "HOUSEHOLDS": ("按户数", "By households"),
    "EQUAL": ("均摊", "Equal shares"),
}
_ROLES_EN: Final = {
    Role.PROPERTY_FIRM: "Property firm",
    Role.OWNERS_COMMITTEE: "Owners' committee",
    Role.TRUSTEE_MAKER: "Trustee, maker",
    Role.TRUSTEE_CHECKER: "Trustee, checker",
    Role.OPERATOR: "Operator",
    Role.SUPERVISOR: "Supervisor",
    Role.OWNER: "Owner",
}
ROLE_NAMES: Final[dict[str, tuple[str, str]]] = {
    **{role: (ROLES_ZH[role], english) for role, english in _ROLES_EN.items()},
    # To who reads the book from outside, it is the gateway that is operated.
    Role.OPERATOR: ("网关运营", _ROLES_EN[Role.OPERATOR]),
}


def in_language(names: tuple[str, str], language: Language) -> str:
    """The Chinese or the English one."""
    return names[0] if language == "zh" else names[1]


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line as a page shows it.

    Attributes:
        line: what the log has of it.
        book: name of its book.
        amount: as written, signed.
        received: whether it is a receipt.
        balance: of the fund after it.
        state: name of what has become of it.
        open: whether the bank has yet to confirm it.
        bank_date: the bank's value date; None while pending.
        match_date: by which it was matched to the bank; None while it is not.
        corrected_by: number of the line that takes it back; 0 for none.
        disclosed: when, in China.
        signatures: party, role and moment of each, in order.
        erased: whether what it said of a person was erased.
    """

    line: Line
    book: str
    amount: str
    received: bool
    balance: str
    state: str
    open: bool
    bank_date: date | None
    match_date: date | None
    corrected_by: int
    disclosed: str
    signatures: tuple[tuple[str, str, str], ...]
    erased: bool


def shown_line(row: Row, language: Language) -> ShownLine:
    """A row of `disclosed_lines`, with the fund's currency, as a page shows it."""
    line, state = shown(row), state_of(row)
    return ShownLine(
        line=line,
        book=in_language(BOOK_NAMES[line.book], language),
        amount=format_minor(row.amount_minor, line.currency),
        received=row.amount_minor > 0,
        balance=format_minor(row.running_minor, line.currency),
        state=in_language(STATE_NAMES[state], language),
        open=state == "PENDING",
        bank_date=row.bank_value_date,
        match_date=row.match_date,
        corrected_by=row.corrected_by or 0,
        disclosed=_moment(row.disclosed_at),
        signatures=tuple(
            (
                mark.party_name,
                in_language(ROLE_NAMES[mark.role], language),
                _moment(datetime.fromisoformat(mark.created_at)),
            )
            for mark in line.signatures
        ),
        erased=row.salt is None,
    )


@dataclass(frozen=True, slots=True)
class ShownNight:
    """A night as a page shows it; totals as how many, and their sum where there are any.

    Attributes:
        number: of its certificate.
        date: the day up to whose end was reconciled.
        came: entries of the bank that no night before had.
        matched: entries whose match it tells.
        open_entries: entries for which no line stands.
        open_lines: lines for which no entry stands.
        proved: whether the balance of every account was proved.
        findings: what stands against it, or came since.
    """

    number: str
    date: str
    came: str
    matched: str
    open_entries: str
    open_lines: str
    proved: bool
    findings: tuple[str, ...]


def shown_night(entry: bytes, language: Language) -> ShownNight:
    """A certificate, as the log has it, as a page shows it."""
    certificate = Certificate.model_validate_json(entry)

    def told(total: Total) -> str:
        amount = format_minor(int(total.amount_minor), certificate.currency)
        return f"{total.count} · {amount}" if total.count != "0" else "0"

    totals = certificate.totals
    found = (each for account in certificate.accounts for each in account.findings)
    return ShownNight(
        number=certificate.number,
        date=certificate.date,
        came=told(totals.came),
        matched=told(totals.matched),
        open_entries=told(totals.open_entries),
        open_lines=told(totals.open_lines),
        proved=all(account.proved == "yes" for account in certificate.accounts),
        findings=tuple(word(FINDINGS_ZH, each, language) for each in dict.fromkeys(found)),
    )


def shown_item(item: Item, currency: str) -> tuple[str, str, str]:
    """What it is, how many, and all of them together."""
    return item.label, f"{item.count:,}", format_minor(item.amount_minor, currency)


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question with its answers; each of these is who, what and when.

    Attributes:
        asker: role and pseudonym.
        text: what was asked.
        asked: when, in China.
        state: name of where it stands.
        due_date: by which it is to be answered.
        answers: in order.
    """

    asker: str
    text: str
    asked: str
    state: str
    due_date: date
    answers: tuple[tuple[str, str, str], ...]


def shown_question(question: Question, language: Language) -> ShownQuestion:
    """A question as a page shows it."""
    row = question.row

    def role(name: str) -> str:
        return in_language(ROLE_NAMES[name], language)

    return ShownQuestion(
        asker=f"{role(row.asker_role)} {row.asker_alias}",
        text=row.text,
        asked=_moment(row.created_at),
        state=in_language(QUESTION_STATES[row.state], language),
        due_date=row.due_date,
        answers=tuple(
            (f"{role(each.role)} {each.party_name}", each.text, _moment(each.created_at))
            for each in question.answers
        ),
    )


@dataclass(frozen=True, slots=True)
class ShownRendition:
    """The public copy of a voucher as a page shows it.

    Attributes:
        sha256: of all its pictures, one behind the other.
        page_count: how many there are.
        boxes: places that the maker had blacked out.
        numbers: numbers that were blacked out unasked.
        maker: role and party.
        made: when, in China.
    """

    sha256: str
    page_count: int
    boxes: int
    numbers: int
    maker: str
    made: str


def shown_rendition(row: Row, language: Language) -> ShownRendition:
    """A row of `voucher_renditions` as a page shows it."""
    return ShownRendition(
        sha256=row.rendition_sha256,
        page_count=len(row.page_sizes),
        boxes=len(row.regions),
        numbers=row.numbers_masked,
        maker=f"{in_language(ROLE_NAMES[row.role], language)} · {row.party_name}",
        made=_moment(row.created_at),
    )


@dataclass(frozen=True, slots=True)
class ShownKind:
    """One category of a book; every figure as written, empty where there is none.

    Attributes:
        category: its name.
        income: received.
        cost: paid.
        income_bar: length in percent of the book's longest bar.
        cost_bar: the same.
    """

    category: str
    income: str
    cost: str
    income_bar: int
    cost_bar: int


@dataclass(frozen=True, slots=True)
class ShownBook:
    """One book over a period; every figure as written.

    Attributes:
        key: ``COMMON`` or ``MAINTENANCE``.
        name: in the reader's language.
        opening: before the first month.
        income: received.
        cost: paid.
        closing: after the last month.
        kinds: by category.
        months: month, income, cost and balance.
    """

    key: str
    name: str
    opening: str
    income: str
    cost: str
    closing: str
    kinds: tuple[ShownKind, ...]
    months: tuple[tuple[str, str, str, str], ...]


def shown_share(share: Share, version: int, language: Language) -> str:
    """The share in common bills that an estate has published, with the version of its rules."""
    name = in_language(BASIS_NAMES[share.basis], language)
    weight = {
        Basis.AREA: f" {square_metres(share.weight)} m²",
        Basis.HOUSEHOLDS: f" {share.weight:,}",
        Basis.EQUAL: "",
    }[share.basis]
    said = in_language((f"规则第 {version} 版", f"rules version {version}"), language)
    return f"{name}{weight} · {said}"


def shown_books(summary: Summary, language: Language) -> list[ShownBook]:
    """A summary as a page shows it, book by book."""
    return [_shown_book(book, summary.currency, language) for book in summary.books]


def _shown_book(book: BookSummary, currency: str, language: Language) -> ShownBook:

    def figure(amount_minor: int) -> str:
        return format_minor(amount_minor, currency)

    def if_any(amount_minor: int) -> str:
        return figure(amount_minor) if amount_minor else ""

    longest = _longest(book)
    return ShownBook(
        key=book.book,
        name=in_language(BOOK_NAMES[book.book], language),
        opening=figure(book.opening_minor),
        income=figure(book.income_minor),
        cost=figure(book.cost_minor),
        closing=figure(book.closing_minor),
        kinds=tuple(
            ShownKind(
                category=kind.category,
                income=if_any(kind.income_minor),
                cost=if_any(kind.cost_minor),
                income_bar=_percent(kind.income_minor, longest),
                cost_bar=_percent(kind.cost_minor, longest),
            )
            for kind in book.kinds
        ),
        months=tuple(
            (
                f"{month.month:%Y-%m}",
                if_any(month.income_minor),
                if_any(month.cost_minor),
                figure(month.balance_minor),
            )
            for month in book.months
        ),
    )


def _longest(book: BookSummary) -> int:
    """What the longest bar of the book stands for."""
    return max((max(kind.income_minor, kind.cost_minor) for kind in book.kinds), default=0)


def _percent(minor: int, longest: int) -> int:
    """How long a bar is; whatever there is can be seen."""
    return max(1, round(100 * minor / longest)) if minor > 0 else 0


def _moment(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(BANK_ZONE):%Y-%m-%d %H:%M}"
