"""Our own files as they went out: which may have reached a bank, and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.connection import DELIVERED_MARK, SENT_MARK
from adapters.formats import batch_cib, batch_cmb, batch_xlsx, channel_xml, pain001

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from adapters.model import Payment
    from adapters.profile import BankProfile

_PARSERS: Final[Mapping[str, Callable[[bytes, BankProfile], tuple[Payment, ...]]]] = {
    pain001.VERSION: lambda content, _: pain001.parse(content).payments,
    pain001.OLDER_VERSION: lambda content, _: pain001.parse(content).payments,
    "batch-cib": batch_cib.parse,
    "batch-cmb": batch_cmb.parse,
    "batch-xlsx": batch_xlsx.parse,
    "channel-xml": lambda content, profile: channel_xml.parse(content, profile).payments,
}


def handed_over(audit: Path) -> list[Path]:
    """The copies in an audit folder of files that a bank has or may have, by name.

    A copy without a mark was never handed over; a mark is taken away where that is certain.
    """
    marked = {
        mark.with_suffix("")
        for suffix in (SENT_MARK, DELIVERED_MARK)
        for mark in audit.glob(f"*{suffix}")
    }
    return sorted(path for path in marked if path.is_file())


def payments_in(content: bytes, profile: BankProfile) -> tuple[Payment, ...]:
    """The payments of a file as `adapters.connection.render` wrote it.

    Raises:
        ParseError: it is no such file.
    """
    return _PARSERS[profile.outbound_format](content, profile)
