"""Files to begin from: what our own tests and writers make, and small real files of others."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from adapters.formats import batch_cib, batch_cmb, batch_xlsx, channel_xml, pain001, pain002
from adapters.model import StatusReport
from adapters.profile import load_profile
from gateway.cases import sheet
from tests.adapters import test_bai2, test_camt053, test_channel, test_mt940, test_ofx, test_table
from tests.adapters.samples import ACCOUNT, DAY, NOW
from tests.fuzz.readers import CIB, CMB, ICBC, PROFILE_NAME, SENT, XLSX
from tests.gateway.cases import test_sheet

CORPUS: Final = Path(__file__).with_name("corpus")
"""Files that broke a reader once, a folder for each reader."""
MAX_SEED_BYTES: Final = 1 << 14
"""A larger real file only makes each execution slower."""
_REAL: Final = {
    "camt": ("mock-bank/**/external/**/camt.05*", "odoo-*/**/test-*camt*", "trytond-*/**/camt*"),
    "mt940": ("mt-940/**/*.sta", "odoo-*/**/test_*940.txt", "odoo-*/**/*.STA"),
    "bai2": ("bai2/**/*.bai2", "mock-bank/**/bai2-*.txt"),
    "ofx": ("bankfile/**/*.ofx", "bankfile/**/*.qfx"),
    "table": ("odoo-*-sheet-file/**/fixtures/*.csv",),
    "xlsx": ("odoo-*-sheet-file/**/fixtures/*.xlsx",),
    "zip": ("odoo-*/**/test-camt053.zip",),
    "pain002": ("mock-bank/**/pain.002*", "odoo-*/**/test-sepa-pain*.xml"),
    "pain001": ("mock-bank/**/pain*001*.xml", "pain001/**/pain.001.001.0[39]/*.xml"),
}
"""Where the fetched packages keep files of a kind."""


def seeds(name: str, files: Path) -> tuple[bytes, ...]:
    """The files from which a reader is attacked, each once.

    Args:
        name: The reader's.
        files: The fetched packages, see `tests/files/fetch.py`.
    """
    return tuple(dict.fromkeys((*made(name), *broke_once(name), *_real(name, files))))


def broke_once(name: str) -> Iterator[bytes]:
    """The files that broke this reader, and are refused or read now."""
    for path in sorted((CORPUS / name).glob("*")):
        yield path.read_bytes()


def _real(name: str, files: Path) -> Iterator[bytes]:
    for pattern in _REAL.get(name, ()):
        for path in sorted(files.glob(pattern)):
            if path.is_file() and path.stat().st_size <= MAX_SEED_BYTES:
                yield path.read_bytes()


def made(name: str) -> tuple[bytes, ...]:
    """Files of a reader's kind that it takes; a test holds it to them."""
    return tuple(_MADE[name]())


def packed(members: dict[str, bytes]) -> bytes:
    """An archive of these members, not compressed, so that its bytes stay in sight."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return held.getvalue()


def _camt() -> Iterator[bytes]:
    entry, detail = test_camt053.entry, test_camt053.detail
    details = f"<NtryDtls>{detail('R1', '60.00')}{detail('R2', '40.00')}</NtryDtls>"
    whole = test_camt053.file(entry("100.00", inner=details))
    yield whole
    yield test_camt053.file(entry("100.00"), version="053.001.08")
    yield test_camt053.file(version="052.001.02", holder="Rpt", balances=())
    yield b'<?xml version="1.0" encoding="GBK"?>' + whole


def _mt940() -> bytes:
    rows = (test_mt940.LINE, ":86:166?00A?20EREF+P1?21SVWZ+B?32C?33D?31E")
    return test_mt940.statement(*rows).encode()


def _workbook() -> bytes:
    heading = ["交易日期", "摘要", "借方发生额", "贷方发生额", "余额", "对方户名", "对方账号"]
    rows: list[list[object]] = [
        [f"账号：{ACCOUNT}"],
        list(heading),
        [DAY, "物业费", "", 1234.5, 2234.5, "王师傅", "6222"],
    ]
    return test_table.workbook(rows)


def _pain001() -> Iterator[bytes]:
    yield pain001.render(SENT, load_profile("demo"))
    yield pain001.render(SENT, load_profile("sepa-example"))


def _pain002() -> bytes:
    statuses = (
        pain002.status("ACSC", end_to_end_id="P1", batch_id="B-M1"),
        pain002.status("RJCT", end_to_end_id="P2", batch_id="B-M1", reason="AC04"),
    )
    return pain002.render(StatusReport("R1", "M1", NOW, statuses), "pain.001.001.09")


def _channel() -> Iterator[bytes]:
    yield channel_xml.render(SENT, ICBC)
    yield test_channel.reply(test_channel.row())
    yield test_channel.reply(test_channel.row("P2", "6"), asked="M1", kind="QPAYENT")


def _batch_text() -> Iterator[bytes]:
    order = batch_cib.render(SENT, CIB)
    yield order
    yield order.replace(b"|\r\n", "|成功|已入账|\r\n".encode("gbk"))
    yield batch_cmb.render(SENT, CMB)


def _cases(form: sheet.Format) -> bytes:
    """Filled in, with one row of each action that needs something of its own."""
    taken = test_sheet.filled(分配="E:1=-15.00; L:12", 账簿="", 科目="", 等待至="", 银行查询号="")
    adjusted = {**taken, "处理": "调账", "账簿": "共有资金账", "科目": "银行手续费"}
    waiting = {**taken, "处理": "等待", "等待至": "2026-11-30", "分配": "", "银行查询号": "CX-9"}
    cases = (test_sheet.CASE, test_sheet.OTHER, test_sheet.OTHER.replace("cd", "ef"))
    rows = (taken, adjusted, waiting)
    return test_sheet.typed(
        form, ({**row, "差异": case} for row, case in zip(rows, cases, strict=True))
    )


def _profiles() -> Iterator[bytes]:
    """Every packaged profile, under the one name that the attack reads them by."""
    own = PROFILE_NAME.removesuffix(".toml")
    for file in sorted(resources.files("adapters.banks").iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            stem = file.name.removesuffix(".toml")
            yield file.read_bytes().replace(f'"{stem}"'.encode(), f'"{own}"'.encode(), 1)


_MADE: Final[Mapping[str, Callable[[], Iterable[bytes]]]] = {
    "camt": _camt,
    "mt940": lambda: (_mt940(),),
    "bai2": lambda: (test_bai2.SMALL.encode(),),
    "ofx": lambda: (test_ofx.SMALL.encode(),),
    "table": lambda: (one.encode("gb18030") for one in (test_table.ICBC, test_table.TWO_SIDES)),
    "xlsx": lambda: (_workbook(),),
    "zip": lambda: (packed({"a.xml": next(_camt()), "b.sta": _mt940()}),),
    "pain001": _pain001,
    "pain002": lambda: (_pain002(),),
    "channel": _channel,
    "batch-text": _batch_text,
    "batch-xlsx": lambda: (batch_xlsx.render(SENT, XLSX),),
    "cases-csv": lambda: (_cases("csv"), _cases("csv").decode().encode("gb18030")),
    "cases-xlsx": lambda: (_cases("xlsx"),),
    "profile": _profiles,
}
