"""The batch-payment text in the style of CIB (兴业银行), and the reply that appends two fields.

A row is
`序号|收款账号|收款人名称|是否兴业银行|是否同城|收款银行行号|收款行名称|收款地址|金额|用途|备注|`;
the reply adds `处理状态|处理结果信息|`. Our reference travels as 备注. The layout follows public
third-party contracts; lengths, names of banks and the meaning of each status are settings of the
profile.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from adapters.model import Batch, ParseError, Payment, Status, StatusReport
from adapters.profile import BankProfile, same_city

_DELIMITER: Final = "|"
_LINE_END: Final = "\r\n"
_ORDER_FIELDS: Final = 11
_REPLY_FIELDS: Final = 13
_ROW_BYTES: Final = 4096
"""No row is longer: the sum of what a profile may allow in practice."""


def render(batch: Batch, profile: BankProfile) -> bytes:
    """The file of a batch; the same bytes for the same batch.

    Check `violations` first: this writes what it is given.

    Raises:
        ValueError: A text holds the delimiter, a line break, or what the charset cannot write.
    """
    rows = (_row(number, one, batch, profile) for number, one in enumerate(batch.payments, 1))
    return "".join(rows).encode(profile.charset)


def _row(number: int, payment: Payment, batch: Batch, profile: BankProfile) -> str:
    code = payment.payee_bank_code
    fields = (
        str(number),
        payment.payee_account,
        payment.payee_name,
        _flag(profile.is_own_bank(code)),
        _flag(same_city(code, batch.debtor_bank_code)),
        code,
        profile.bank_name(code),
        "",
        profile.amount_text(payment.amount_minor, payment.currency),
        payment.purpose,
        payment.end_to_end_id,
    )
    for field in fields:
        if _DELIMITER in field or len(field.splitlines()) > 1:
            raise ValueError(f"payment {number} has a delimiter or a line break in a field")
    return _DELIMITER.join(fields) + _DELIMITER + _LINE_END


def _flag(yes: bool) -> str:
    return "Y" if yes else "N"


def parse(content: bytes, profile: BankProfile) -> tuple[Payment, ...]:
    """The payments of a file; who pays is not in it.

    Raises:
        ParseError: Not such a file, a wrong number of fields, an amount that is none, rows out of
            order, or a flag that says otherwise than the 联行号.
    """
    rows = enumerate(_rows(content, profile, _ORDER_FIELDS), 1)
    return tuple(_payment(number, fields, profile) for number, fields in rows)


def _payment(number: int, fields: list[str], profile: BankProfile) -> Payment:
    here = f"line {number}"
    if fields[0] != str(number):
        raise ParseError("row_number", f"序号 is not {number}", here)
    if fields[3] != _flag(profile.is_own_bank(fields[5])):
        raise ParseError("flag_differs", "是否兴业银行 is not what 收款银行行号 says", here)
    return Payment(
        end_to_end_id=fields[10],
        payee_name=fields[2],
        payee_account=fields[1],
        payee_bank_code=fields[5],
        amount_minor=profile.amount_minor(fields[8], profile.currency(), here),
        currency=profile.currency(),
        purpose=fields[9],
    )


def is_reply(content: bytes, profile: BankProfile) -> bool:
    """Whether a file of the bank begins like its answer to one of ours."""
    try:
        first = profile.decoded(content[:_ROW_BYTES]).replace(_LINE_END, "\n").partition("\n")[0]
    except ParseError:
        return False
    fields = first.split(_DELIMITER)
    return len(fields) == _REPLY_FIELDS + 1 and fields[0].strip().isdigit()


def reference(content: bytes, profile: BankProfile) -> str:
    """Our reference in the first row of an answer, by which its order is found.

    Raises:
        ParseError: No such answer.
    """
    return next(_rows(content, profile, _REPLY_FIELDS))[10]


def parse_reply(
    content: bytes, profile: BankProfile, batch: Batch, received_at: datetime
) -> StatusReport:
    """What the bank says of a batch; a payment that it does not list is not in the report.

    A status that the profile does not know is UNKNOWN: never final, never paid again by itself.

    Args:
        content: The reply.
        profile: The bank.
        batch: What was sent: each row must show its account, amount and reference.
        received_at: When the reply came; it does not say so itself.

    Raises:
        ParseError: Not such a reply, or a row that is not the payment that was sent.
    """
    seen: dict[int, Status] = {}
    for line, fields in enumerate(_rows(content, profile, _REPLY_FIELDS), 1):
        number = _number(fields[0], len(batch.payments), f"line {line}")
        if number in seen:
            raise ParseError("row_repeated", f"序号 {number} twice", f"line {line}")
        seen[number] = _status(fields, batch, batch.payments[number - 1], profile, f"line {line}")
    return StatusReport("", batch.message_id, received_at, tuple(seen.values()))


def _number(written: str, count: int, here: str) -> int:
    if not (written.isascii() and written.isdigit() and len(written) <= len(str(count))):
        raise ParseError("row_unknown", "序号 is not one that was sent", here)
    if not 1 <= int(written) <= count:
        raise ParseError("row_unknown", "序号 is not one that was sent", here)
    return int(written)


def _status(
    fields: list[str], batch: Batch, sent: Payment, profile: BankProfile, here: str
) -> Status:
    amount_minor = profile.amount_minor(fields[8], sent.currency, here)
    shown = (fields[1], amount_minor, fields[10])
    if shown != (sent.payee_account, sent.amount_minor, sent.end_to_end_id):
        raise ParseError("row_differs", "account, amount or 备注 is not what was sent", here)
    code = fields[11]
    return Status(sent.end_to_end_id, batch.batch_id, code, "", fields[12], profile.outcome(code))


def _rows(content: bytes, profile: BankProfile, count: int) -> Iterator[list[str]]:
    """The fields of each row, without what follows the last delimiter."""
    if len(content) > profile.batch_maximum * _ROW_BYTES:
        raise ParseError("file_too_large", "longer than a full batch")
    lines = profile.decoded(content).replace(_LINE_END, "\n").rstrip("\n").split("\n")
    if len(lines) > profile.batch_maximum:
        raise ParseError("batch_size", f"more than {profile.batch_maximum} rows")
    for number, line in enumerate(lines, 1):
        fields = line.split(_DELIMITER)
        if number == 1 and not fields[0].strip().isdigit():
            raise ParseError("format_unknown", "does not begin with a 序号", "line 1")
        if len(fields) != count + 1 or fields[-1]:
            message = f"{len(fields) - 1} fields, {count} expected"
            raise ParseError("field_count", message, f"line {number}")
        yield [field.strip() for field in fields[:-1]]
