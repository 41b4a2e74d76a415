"""A batch-payment text in the style of CMB (招商银行): one heading, then a row for each payee.

The fields are 收款账号 C(35), 收款人名称 Z(62), 金额, 本行标志, 开户行, 城市, 附言 Z(20). The file
has no room for our reference: its payments are found again by account, amount and day. The layout
follows public third-party descriptions; lengths and names are settings of the profile.
"""

from collections.abc import Iterator
from typing import Final

from adapters.model import Batch, ParseError, Payment
from adapters.profile import BankProfile

_DELIMITER: Final = ","
_LINE_END: Final = "\r\n"
_HEADING: Final = ("收款账号", "收款人名称", "金额", "本行标志", "开户行", "城市", "附言")
_FLAGS: Final = ("Y", "N")
_ROW_BYTES: Final = 4096


def render(batch: Batch, profile: BankProfile) -> bytes:
    """The file of a batch; the same bytes for the same batch.

    Check `violations` first: this writes what it is given.

    Raises:
        ValueError: A text holds the delimiter, a quotation mark, a line break, or what the charset
            cannot write.
    """
    rows = [_HEADING, *(_row(payment, profile) for payment in batch.payments)]
    return "".join(map(_line, rows)).encode(profile.charset)


def _row(payment: Payment, profile: BankProfile) -> tuple[str, ...]:
    code = payment.payee_bank_code
    own = profile.is_own_bank(code)
    return (
        payment.payee_account,
        payment.payee_name,
        profile.amount_text(payment.amount_minor, payment.currency),
        "Y" if own else "N",
        "" if own else profile.bank_name(code),
        "" if own else profile.city_name(code),
        payment.purpose,
    )


def _line(fields: tuple[str, ...]) -> str:
    for field in fields:
        if _DELIMITER in field or '"' in field or len(field.splitlines()) > 1:
            raise ValueError("a field has a delimiter, a quotation mark or a line break")
    return _DELIMITER.join(fields) + _LINE_END


def is_order(content: bytes, profile: BankProfile) -> bool:
    """Whether a file begins with the heading."""
    return content.startswith(_DELIMITER.join(_HEADING).encode(profile.charset))


def parse(content: bytes, profile: BankProfile) -> tuple[Payment, ...]:
    """The payments of a file, without reference and 联行号, which it does not carry.

    Raises:
        ParseError: Not such a file, a wrong number of fields, an amount or a flag that is none, or
            a payee at another bank whose bank or city is missing.
    """
    return tuple(
        _payment(fields, f"line {line}", profile) for line, fields in _rows(content, profile)
    )


def _payment(fields: list[str], here: str, profile: BankProfile) -> Payment:
    account, name, amount, own, bank, city, note = fields
    if own not in _FLAGS:
        raise ParseError("flag_invalid", "本行标志 is neither Y nor N", here)
    if own == "N" and not (bank and city):
        raise ParseError("field_missing", "another bank needs 开户行 and 城市", here)
    return Payment(
        end_to_end_id="",
        payee_name=name,
        payee_account=account,
        payee_bank_code="",
        amount_minor=profile.amount_minor(amount, profile.currency(), here),
        currency=profile.currency(),
        purpose=note,
    )


def _rows(content: bytes, profile: BankProfile) -> Iterator[tuple[int, list[str]]]:
    if len(content) > (profile.batch_maximum + 1) * _ROW_BYTES:
        raise ParseError("file_too_large", "longer than a full batch")
    lines = profile.decoded(content).replace(_LINE_END, "\n").rstrip("\n").split("\n")
    if tuple(lines[0].split(_DELIMITER)) != _HEADING:
        raise ParseError("format_unknown", "does not begin with the heading", "line 1")
    if len(lines) > profile.batch_maximum + 1:
        raise ParseError("batch_size", f"more than {profile.batch_maximum} rows")
    for number, line in enumerate(lines[1:], 2):
        fields = line.split(_DELIMITER)
        if len(fields) != len(_HEADING):
            message = f"{len(fields)} fields, {len(_HEADING)} expected"
            raise ParseError("field_count", message, f"line {number}")
        yield number, [field.strip() for field in fields]
