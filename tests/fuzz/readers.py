"""Every reader of bytes from outside, with what it may raise and what its result must be.

A reader here is what the fuzzer calls with any bytes: it returns, or refuses with one of its named
errors. Whatever else is raised is a crash.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Final, Literal

from adapters import read
from adapters.formats import batch_cib, batch_cmb, batch_xlsx, channel_xml, pain001
from adapters.model import Parsed, ParseError
from adapters.profile import BankProfile, ProfileError, load_profile, read_profile
from gateway.cases.sheet import SheetError
from gateway.cases.sheet import read as read_sheet
from tests.adapters import test_camt_stream
from tests.adapters.samples import NOW, batch, payment

CIB: Final = load_profile("cib-batch")
CMB: Final = load_profile("cmb-batch")
ICBC: Final = load_profile("icbc-channel")
XLSX: Final = load_profile("generic-xlsx")
SENT: Final = batch(payment("P1"), payment("P2", 5))
"""What the replies of the seeds answer."""
PROFILE_NAME: Final = "demo.toml"
_LOCATION: Final = re.compile(r"(line|byte) [0-9]+")

Shape = Literal["xml", "tags", "lines", "zip"]
"""How a file is taken to pieces to be changed: elements, tags, lines, or members of an archive."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader under attack."""

    name: str
    read: Callable[[bytes], object]
    refusal: type[Exception]
    """The only error that it may raise."""
    shape: Shape
    words: tuple[str, ...]
    """What files of this kind are made of."""

    def attack(self, content: bytes) -> object:
        """What the file says, or its refusal; checks that either can be told and stored.

        A refusal of a file names the place, as `ParseError` promises.

        Raises:
            Exception: A crash: anything that is not the reader's own refusal.
        """
        try:
            result = self.read(content)
        except self.refusal as refused:
            _check_refusal(refused)
            return refused
        check_storable(result)
        return result


def _check_refusal(refused: Exception) -> None:
    check_storable(str(refused))
    if isinstance(refused, ParseError):
        assert _LOCATION.fullmatch(refused.location), "a place that is neither line nor byte"


def check_storable(value: object) -> None:
    """Every text must be one that UTF-8 can write, without NUL: a database takes nothing else.

    Raises:
        AssertionError: There is a NUL.
        UnicodeEncodeError: There is half of a surrogate pair.
    """
    match value:
        case str():
            assert "\0" not in value, "a NUL character"
            value.encode("utf-8")
        case tuple():
            for each in value:
                check_storable(each)
        case BankProfile():
            value.model_dump_json()
        case _ if is_dataclass(value):
            for one in fields(value):
                check_storable(getattr(value, one.name))


def _statements(content: bytes) -> Parsed:
    parsed = read.parse(content)
    read.to_json(parsed)
    return parsed


def _camt(content: bytes) -> Parsed:
    """Entries cut out by their shape must say what the parser says of the same file."""
    cut_out, parsed = test_camt_stream.read(content), test_camt_stream.by_the_parser(content)
    if isinstance(cut_out, str) and isinstance(parsed, str):
        assert cut_out.split()[0] == parsed.split()[0], "refused by each way for another reason"
    else:
        assert cut_out == parsed, "each way says another thing"
    return _statements(content)


def _batch_text(content: bytes) -> object:
    """Each of the two styles, and the reply of one: the first that does not refuse it."""
    for reading in (
        lambda: batch_cib.parse(content, CIB),
        lambda: batch_cib.parse_reply(content, CIB, SENT, NOW),
    ):
        try:
            return reading()
        except ParseError:
            continue
    return batch_cmb.parse(content, CMB)


def _channel(content: bytes) -> object:
    """An order as the bank reads it, else a bank's reply."""
    try:
        return channel_xml.parse(content, ICBC)
    except ParseError:
        return channel_xml.parse_reply(content, ICBC, SENT, NOW)


_XML: Final = (
    '<?xml version="1.0" encoding="GBK"?>',
    '<?xml version="1.0" encoding="UTF-16"?>',
    "<!DOCTYPE a [<!ENTITY b 'c'>]>",
    "<![CDATA[",
    "]]>",
    "<!-- -->",
    "<?a?>",
    "&amp;",
    "&#0;",
    "&#xD800;",
    ' xmlns="urn:a"',
)
_VALUES: Final = (
    *("0", "-1", "1.005", "1e9", "999999999999999999.99", "0001-01-01", "9999-12-31T24:00:00"),
    *("9999-12-31T23:59:59-23:59", "CNY", "JPY", "XXX", "true", "٣", "²", "\u2028", "\ufeff"),
)
_CAMT: Final = (
    *("Document", "BkToCstmrStmt", "Stmt", "Ntry", "NtryDtls", "TxDtls", "Bal", "Amt", "CdtDbtInd"),
    *("BookgDt", "ValDt", "RvslInd", "RtrInf", "Btch", "Sts", "CRDT", "DBIT", "OPBD", "CLBD"),
    *("urn:iso:std:iso:20022:tech:xsd:camt.053.001.08", "StmtPgntn", "Sum", "AcctSvcrRef"),
)
_MT940: Final = (
    *(":20:", ":21:", ":25:", ":28C:", ":34F:", ":60F:", ":60M:", ":61:", ":62F:", ":62M:"),
    *(":64:", ":65:", ":86:", ":90D:", ":NS:", "{1:", "-}", "\n-", "C260302CNY", "260229", "RC"),
    *("NTRF", "//", "?20", "?32", "EREF+", "SVWZ+", "IBAN+", "NONREF", "0,", ",,"),
)
_BAI2: Final = (
    *("01,", "02,", "03,", "16,", "49,", "88,", "98,", "99,", "/", ",,", ",S,", ",V,", ",D,999,"),
    *("010", "015", "100", "400", "890", "260229", "-", "+"),
)
_OFX: Final = (
    *("OFXHEADER:100", "<OFX>", "</OFX>", "<STMTRS>", "<CCSTMTRS>", "<STMTTRN>", "</STMTTRN>"),
    *("<LEDGERBAL>", "<BANKACCTFROM>", "<CURDEF>", "<TRNAMT>", "<DTPOSTED>", "<FITID>", "<NAME>"),
    *("<CURRENCY>", "<CURSYM>", "<CORRECTFITID>", "&#1114112;", "<![CDATA[", "20260229", "CHARSET"),
)
_TABLE: Final = (
    *("交易日期", "摘要", "借方", "贷方", "余额", "合计", "期初余额", "人民币", "贷", "借"),
    *("'", '"', ",", "\t", "=1+1", "@a", "￥1,234.50", "2026-02-29", "20260302", "(1.00)"),
)
_SHEET: Final = (
    *("<row>", "<c>", "<v>", "<f>", "<is>", "<t>", "inlineStr", ' t="s"', ' t="d"', ' s="1"'),
    *(' r="XFD1048576"', ' r="A0"', "1e308", "1e-99", "45000.5", "-1", "2958466", "date1904"),
    *("_x0000_", "_xD800_"),
)
_CASES: Final = (
    *("差异", "Case", "处理", "分配", "等待至", "理由", "版本", "funds/f1/cases/", "匹配", "WAIT"),
    *("E:", "L:12", "=-0.01", "；", ";", "v:", "2026年2月30日", "46356", "'=", "\ufffd"),
)
_PAIN: Final = (
    *("CstmrPmtStsRpt", "GrpHdr", "OrgnlGrpInfAndSts", "OrgnlPmtInfAndSts", "TxInfAndSts", "RJCT"),
    *("CstmrCdtTrfInitn", "PmtInf", "CdtTrfTxInf", "PmtId", "ReqdExctnDt", "CreDtTm", "PART"),
    *("NbOfTxs", "CtrlSum", "urn:iso:std:iso:20022:tech:xsd:pain.002.001.12", "Ccy"),
)
_CHANNEL: Final = (
    *("CMS", "eb", "pub", "in", "out", "rd", "iSeqno", "QryiSeqno", "QryfSeqno", "Result"),
    *("RetCode", "TransCode", "SettleMode", "TotalNum", "TotalAmt", "PayAmt", "TranDate", "M1"),
)
_BATCH: Final = ("|", ",", "Y", "N", "\r\n", "1", "0.05", "P1", "收款账号", "附言")
_TOML: Final = (
    *("[channel]", "[[windows]]", "[limit_bytes]", "[calendar]", "time_zone", "cut_off", "1e400"),
    *("extra_holidays", "0001-01-01", "23:59:60", "nan", "inf", "0x", "'''", '"\\U00110000"'),
    *("a.a.a", "../", "/", "Asia", "{a={a={}}}", "[[[[", "currencies"),
)

READERS: Final = {
    one.name: one
    for one in (
        Reader("camt", _camt, ParseError, "xml", _XML + _VALUES + _CAMT),
        Reader("mt940", _statements, ParseError, "lines", _VALUES + _MT940),
        Reader("bai2", _statements, ParseError, "lines", _VALUES + _BAI2),
        Reader("ofx", _statements, ParseError, "tags", _VALUES + _XML + _OFX),
        Reader("table", _statements, ParseError, "lines", _VALUES + _TABLE),
        Reader("xlsx", _statements, ParseError, "zip", _XML + _VALUES + _SHEET),
        Reader("zip", _statements, ParseError, "zip", _VALUES + _CAMT + _MT940),
        Reader("pain002", read.parse_status, ParseError, "xml", _XML + _VALUES + _PAIN),
        Reader("pain001", pain001.parse, ParseError, "xml", _XML + _VALUES + _PAIN),
        Reader("channel", _channel, ParseError, "xml", _XML + _VALUES + _CHANNEL),
        Reader("batch-text", _batch_text, ParseError, "lines", _VALUES + _BATCH),
        Reader(
            "batch-xlsx",
            lambda content: batch_xlsx.parse(content, XLSX),
            ParseError,
            "zip",
            _XML + _VALUES + _SHEET,
        ),
        Reader(
            "cases-csv",
            lambda content: read_sheet(content, "csv"),
            SheetError,
            "lines",
            _VALUES + _TABLE + _CASES,
        ),
        Reader(
            "cases-xlsx",
            lambda content: read_sheet(content, "xlsx"),
            SheetError,
            "zip",
            _XML + _VALUES + _SHEET + _CASES,
        ),
        Reader(
            "profile",
            lambda content: read_profile(content, PROFILE_NAME),
            ProfileError,
            "lines",
            _VALUES + _TOML,
        ),
    )
}
