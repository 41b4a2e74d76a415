"""What people write for everybody to read: numbers by which a private person is found are left out.

Personal Information Protection Law art. 28: phone, identity card, bank card and e-mail. A number is
taken for one only if it is well formed, down to the check digit where it has one, so that amounts,
days, and the numbers of lines and invoices stay readable. A home is told as a pseudonym: the same
home has the same one within a fund, and nobody reads who owes what in which room. Names cannot be
told from other words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from stdnum import luhn
from stdnum.iso7064 import mod_11_2

from gateway.domain.pseudonym import pseudonym

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NARROW: Final = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width letters and digits, as Chinese input methods write them, one for one."""

_GAP: Final = "[ -]?"
_BUILDING: Final = r"(?:[0-9]{1,3}|[A-Za-z])[ ]?(?:栋|幢|座|号楼|#楼?)"
_UNIT: Final = r"[0-9]{1,2}[ ]?单元"
_ROOM: Final = r"[0-9]{3,4}"
_HOME_DIGITS: Final = 6


class _Kind(NamedTuple):
    """One kind of number: its form, what else must hold of it, and what is put in its place."""

    form: re.Pattern[str]
    holds: Callable[[str], bool]
    placeholder: Callable[[str, bytes], str]


def _as(placeholder: str) -> Callable[[str, bytes], str]:
    return lambda _found, _salt: placeholder


def _always(_: str) -> bool:
    return True


def _home(found: str, salt: bytes) -> str:
    """However it is written: ``3栋1单元502室`` is ``3-1-502``."""
    parts = re.findall("[0-9]+|[A-Za-z]", found)
    said = b"home\x00" + "-".join(parts).upper().encode()
    return f"[住户{pseudonym(salt, said, _HOME_DIGITS)}]"


_KINDS: Final = (
    _Kind(
        re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
        _always,
        _as("[邮箱已隐去]"),
    ),
    _Kind(
        re.compile(rf"[0-9]{{6}}{_GAP}[0-9]{{8}}{_GAP}[0-9]{{3}}[0-9Xx](?![0-9])"),
        mod_11_2.is_valid,
        _as("[证件号已隐去]"),
    ),
    _Kind(
        re.compile(rf"(?:\+?86{_GAP})?1[3-9](?:{_GAP}[0-9]){{9}}(?![0-9])"),
        _always,
        _as("[手机号已隐去]"),
    ),
    _Kind(
        re.compile("(?:[0-9]{12,19}|[0-9]{4}(?:[ -][0-9]{4}){2,3}(?:[ -][0-9]{1,3})?)(?![0-9])"),
        luhn.is_valid,
        _as("[卡号已隐去]"),
    ),
    _Kind(
        re.compile(
            rf"{_BUILDING}{_GAP}(?:{_UNIT}{_GAP})?{_ROOM}(?:室|号房|号|房|户)?(?![0-9])"
            rf"|{_UNIT}{_GAP}{_ROOM}(?:室|号房|号|房|户)?(?![0-9])"
            rf"|[0-9]{{1,3}}-[0-9]{{1,2}}-(?!(?:19|20)[0-9]{{2}}){_ROOM}(?:室|号房|房|户)?(?![0-9-])"
            rf"|(?:[0-9]{{1,3}}-)?{_ROOM}(?:室|号房)"
        ),
        _always,
        _home,
    ),
)


def mask_text(text: str, salt: bytes) -> str:
    """The text with each such number replaced by what it was; doing it twice changes nothing.

    Args:
        text: as somebody wrote it.
        salt: of the fund's pseudonyms.
    """
    for kind in _KINDS:
        narrow = text.translate(_NARROW)
        for start, end in reversed(list(_found(kind, narrow))):
            text = text[:start] + kind.placeholder(narrow[start:end], salt) + text[end:]
    return text


def numbers_in(text: str) -> Iterator[tuple[int, int]]:
    """Where such numbers begin and end, kind by kind; two of them may overlap."""
    narrow = text.translate(_NARROW)
    for kind in _KINDS:
        yield from _found(kind, narrow)


def _found(kind: _Kind, text: str) -> Iterator[tuple[int, int]]:
    """Where they stand; tried from each start, lest a day before a card hide the card."""
    first = kind.form.search(text)
    at = first.start() if first else len(text)
    while at < len(text):
        match = kind.form.match(text, at)
        if match and not _inside_number(text, at) and kind.holds(_bare(match[0])):
            yield match.span()
            at = match.end()
        else:
            at += 1


def _inside_number(text: str, at: int) -> bool:
    return at > 0 and text[at - 1 : at + 1].isdecimal()


def _bare(number: str) -> str:
    return number.replace(" ", "").replace("-", "").upper()
