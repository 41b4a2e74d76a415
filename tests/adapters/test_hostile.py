"""Hostile and broken input of every format: a named refusal or a finding, bounded memory."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.formats import (
    batch_cib,
    batch_cmb,
    batch_xlsx,
    camt053,
    channel_xml,
    pain001,
    pain002,
    sheet,
)
from adapters.model import Balance, Entry, Parsed, ParseError, Statement, StatusReport
from adapters.profile import load_profile
from adapters.read import parse, parse_status
from tests.adapters.samples import DAY, NOW, batch, payment
from tests.adapters.test_bai2 import SMALL as BAI2
from tests.adapters.test_ofx import SMALL as OFX
from tests.adapters.test_table import ICBC, TWO_SIDES, codes, workbook

CORPUS = Path(__file__).with_name("corpus")
BOOK = workbook(
    [
        ["账号：4402000100000000001"],
        ["交易日期", "摘要", "借方发生额", "贷方发生额", "余额", "对方户名", "对方账号"],
        [date(2026, 3, 2), "物业费", "", 1234.5, 2234.5, "王师傅", "6222"],
        [date(2026, 3, 3), "清运费", 0.1, "", 2234.4, "清运", "5100"],
    ]
)
SMALL_FILES = {
    "bai2": BAI2.encode(),
    "ofx": OFX.encode(),
    "csv": TWO_SIDES.encode("gb18030"),
    "icbc": ICBC.encode(),
    "xlsx": BOOK,
}


def said(content: bytes) -> Parsed | str:
    """What a file says or the code of its refusal; anything else that is raised is a crash."""
    try:
        return parse(content)
    except ParseError as refused:
        code, kind = refused.code, refused.location.split()[0]
    assert kind in {"line", "byte"}
    return code


ORDER = batch(payment("P1"), payment("P2"))
CHANNEL, DEMO = load_profile("icbc-channel"), load_profile("demo")
CIB, CMB = load_profile("cib-batch"), load_profile("cmb-batch")
BOOKS = load_profile("generic-xlsx")


class Reader(NamedTuple):
    """One way in for what a bank or a person sends, and a small file that it reads."""

    read: Callable[[bytes], object]
    whole: bytes


def _statement() -> bytes:
    rows = tuple(Entry(f"E{n}", DAY, DAY, -n, "CNY", text="水费") for n in (1, 2))
    one = Statement("S1", "44020001", "CNY", Balance(DAY, 1000), Balance(DAY, 997), rows)
    return camt053.render(one, "M1", NOW)


def _statuses() -> bytes:
    told = tuple(pain002.status("ACSC", end_to_end_id=one, batch_id="B-M1") for one in ("P1", "P2"))
    return pain002.render(StatusReport("R1", "M1", NOW, told), "pain.001.001.09")


def _answer() -> bytes:
    rows = "".join(f"<rd><iSeqno>P{n}</iSeqno><Result>7</Result></rd>" for n in (1, 2))
    public = "<TransCode>PAYENT</TransCode><fSeqno>M1</fSeqno><RetCode>0</RetCode>"
    text = f"<CMS><eb><pub>{public}<RetMsg>说明</RetMsg></pub><out>{rows}</out></eb></CMS>"
    return f'<?xml version="1.0" encoding="GBK"?>{text}'.encode("gbk")


def _cib_answer() -> bytes:
    rows = batch_cib.render(ORDER, CIB).split(b"\r\n")[:-1]
    return b"".join(row + b"PAYOUT||\r\n" for row in rows)


XML_READERS = {
    "camt.053": Reader(parse, _statement()),
    "pain.002": Reader(parse_status, _statuses()),
    "pain.001": Reader(pain001.parse, pain001.render(ORDER, DEMO)),
    "channel order": Reader(
        lambda content: channel_xml.parse(content, CHANNEL), channel_xml.render(ORDER, CHANNEL)
    ),
    "channel answer": Reader(
        lambda content: channel_xml.parse_reply(content, CHANNEL, ORDER, NOW), _answer()
    ),
}
ROW_READERS = {
    "CIB order": Reader(
        lambda content: batch_cib.parse(content, CIB), batch_cib.render(ORDER, CIB)
    ),
    "CIB answer": Reader(
        lambda content: batch_cib.parse_reply(content, CIB, ORDER, NOW), _cib_answer()
    ),
    "CMB order": Reader(
        lambda content: batch_cmb.parse(content, CMB), batch_cmb.render(ORDER, CMB)
    ),
}
READERS = {**XML_READERS, **ROW_READERS}


def answer(reader: Reader, content: bytes) -> object:
    """What a reader makes of a file, or the code of its refusal; anything else is a crash."""
    try:
        return reader.read(content)
    except ParseError as refused:
        return refused.code


@pytest.mark.parametrize("name", XML_READERS)
def test_a_message_cut_at_any_byte_is_refused(name: str) -> None:
    reader = XML_READERS[name]
    whole = reader.whole.rstrip()
    assert not isinstance(answer(reader, whole), str)
    for cut in range(len(whole)):
        refused = answer(reader, whole[:cut])
        assert refused in {"xml_malformed", "file_empty", "format_unknown"}, cut


@pytest.mark.parametrize("name", ["CIB order", "CIB answer"])
def test_rows_cut_at_any_byte_are_refused_or_end_behind_a_whole_row(name: str) -> None:
    reader = ROW_READERS[name]
    for cut in range(len(reader.whole)):
        if not isinstance(answer(reader, reader.whole[:cut]), str):
            last = reader.whole[:cut].rstrip().rpartition(b"\n")[2]
            assert last in reader.whole.split(b"\r\n"), cut


def test_rows_that_end_with_a_note_lose_nothing_else_by_a_cut() -> None:
    """No delimiter stands behind the note of a CMB row: who is paid and how much stands before."""
    whole = batch_cmb.parse(batch_cmb.render(ORDER, CMB), CMB)
    for cut in range(len(ROW_READERS["CMB order"].whole)):
        found = answer(ROW_READERS["CMB order"], ROW_READERS["CMB order"].whole[:cut])
        if isinstance(found, tuple):
            assert (
                tuple(replace(one, purpose=whole[0].purpose) for one in found)
                == (whole[: len(found)])
            ), cut


def test_a_workbook_of_payments_cut_at_any_byte_is_refused() -> None:
    reader = Reader(
        lambda content: batch_xlsx.parse(content, BOOKS), batch_xlsx.render(ORDER, BOOKS)
    )
    assert not isinstance(answer(reader, reader.whole), str)
    for cut in range(len(reader.whole)):
        refused = answer(reader, reader.whole[:cut])
        assert refused in {"zip_malformed", "format_unknown"}, cut


@pytest.mark.parametrize("name", READERS)
def test_a_nul_byte_anywhere_is_refused(name: str) -> None:
    reader = READERS[name]
    whole = reader.whole.rstrip()
    for at in range(1, len(whole)):
        refused = answer(reader, whole[:at] + b"\0" + whole[at:])
        assert refused in {"xml_malformed", "nul_byte", "format_unknown"}, at


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("put", [b"\xff", b"\xed\xa0\x80", b"\x81", b"\x1b$B"])
def test_a_byte_of_another_encoding_anywhere_is_no_crash(name: str, put: bytes) -> None:
    reader = READERS[name]
    for at in range(0, len(reader.whole), 7):
        assert answer(reader, reader.whole[:at] + put + reader.whole[at:]) is not None


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_a_file_in_an_encoding_it_does_not_declare_is_never_read_as_something_else(
    name: str, encoding: str
) -> None:
    reader = READERS[name]
    text = reader.whole.decode("utf-8" if b"UTF-8" in reader.whole else "gb18030")
    found = answer(reader, text.encode(encoding, "ignore"))
    assert isinstance(found, str) or found == answer(reader, reader.whole)


@pytest.mark.parametrize("name", XML_READERS)
@pytest.mark.parametrize("encoding", ["no-such", "x" * 5000, "GB2312 ", ""])
def test_a_declared_encoding_that_is_none_is_refused(name: str, encoding: str) -> None:
    reader = XML_READERS[name]
    head, tail = reader.whole.split(b"?>", 1)
    assert b"encoding" in head
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    assert answer(reader, declared + tail) == "xml_malformed"


LAUGHS = '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)
)


@pytest.mark.parametrize("name", XML_READERS)
@pytest.mark.parametrize(
    "subset",
    [
        "",
        'SYSTEM "file:///etc/passwd"',
        'PUBLIC "x" "http://192.0.2.1/x.dtd"',
        '[<!ENTITY a9 SYSTEM "file:///etc/passwd">]',
        '[<!ENTITY % x SYSTEM "http://192.0.2.1/x.dtd"> %x;]',
        '[<!ATTLIST Document a CDATA "b">]',
        f"[{LAUGHS}]",
    ],
)
def test_every_reader_of_messages_refuses_a_doctype(name: str, subset: str) -> None:
    reader = XML_READERS[name]
    head, tail = reader.whole.split(b"?>", 1)
    content = head + f"?><!DOCTYPE Document {subset}>".encode() + tail.replace(b"P1", b"&a9;")
    assert answer(reader, content) == "doctype_refused"


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_file_cut_at_any_byte_is_refused_flagged_or_ends_between_lines(name: str) -> None:
    whole = SMALL_FILES[name]
    complete = parse(whole).statements
    for cut in range(len(whole)):
        parsed = said(whole[:cut])
        if isinstance(parsed, str) or parsed.findings or parsed.statements == complete:
            continue
        # A table has no trailer: cut between two rows it is a shorter table.
        assert name in {"csv", "icbc"}, (name, cut)
        assert whole[:cut].endswith(b"\n")


@pytest.mark.parametrize("name", SMALL_FILES)
@pytest.mark.parametrize("put", [b"\0", b"\xff", b"\x1a", b"\xed\xa0\x80", b"\x81"])
def test_a_foreign_byte_anywhere_is_no_crash(name: str, put: bytes) -> None:
    whole = SMALL_FILES[name]
    for at in range(0, len(whole), 7):
        assert said(whole[:at] + put + whole[at:]) is not None


@pytest.mark.parametrize("name", ["bai2", "ofx", "csv", "icbc"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_that_no_bank_uses_is_refused(name: str, encoding: str) -> None:
    whole = SMALL_FILES[name].decode("gb18030" if name == "csv" else "utf-8")
    assert said(whole.encode(encoding)) in {"nul_byte", "xml_malformed", "format_unknown"}


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY b "&a;&a;">]>',
    ],
)
def test_a_doctype_is_refused_in_every_format_with_tags(doctype: str) -> None:
    assert said((doctype + OFX).encode()) == "doctype_refused"
    assert said(_with_part("xl/worksheets/sheet1.xml", doctype.encode() + b"<x/>")) == (
        "doctype_refused"
    )
    assert said(_with_part("xl/sharedStrings.xml", doctype.encode() + b"<x/>")) == (
        "doctype_refused"
    )


def _with_part(changed: str, part: bytes) -> bytes:
    """The small workbook with one of its parts replaced."""
    held = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(BOOK)) as old,
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, part if name == changed else old.read(name))
    return held.getvalue()


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (b'<c r="XFD1048576"><v>1</v></c>', "columns_too_many"),
        (b'<c r="B1"><v>1</v></c><c r="A1"><v>1</v></c>', "columns_too_many"),
        (b'<c t="s"><v>999999999999</v></c>', "workbook_malformed"),
        (b'<c t="s"><v>-1</v></c>', "workbook_malformed"),
        (b'<c s="x"><v>1</v></c>', "workbook_malformed"),
        (b"<c><v>" + b"9" * 5000 + b"</v></c>", "cell_too_long"),
        (b"<c>" * 300 + b"</c>" * 300, "workbook_malformed"),
    ],
)
def test_a_workbook_that_claims_the_impossible_is_refused(cells: bytes, code: str) -> None:
    main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    part = b'<worksheet xmlns="%s"><sheetData><row>%s</row></sheetData></worksheet>'
    with pytest.raises(ParseError, match=code):
        list(sheet.rows(_with_part("xl/worksheets/sheet1.xml", part % (main, cells)), ","))


@pytest.mark.parametrize("name", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels"])
def test_a_workbook_without_a_part_it_needs_is_refused(name: str) -> None:
    assert said(_with_part(name, b"<x/>")) == "workbook_malformed"
    assert said(_with_part(name, b"")) == "workbook_malformed"


def test_an_old_or_encrypted_workbook_is_refused_by_name() -> None:
    assert said(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600) == "format_unsupported"


@pytest.mark.parametrize("amount", ["9" * 19, "1e400", "Infinity", "0x10", "1_000", "--1", "½"])
def test_an_absurd_amount_is_an_error_in_a_table(amount: str) -> None:
    parsed = said(TWO_SIDES.replace('"1,234.50","¥2', f'{amount},"¥2').encode())
    assert isinstance(parsed, Parsed)
    assert "amount_invalid" in {one.code for one in parsed.findings}


# Memory: each in a process of its own, which says its peak.

PROBE = """
import io, sys, zipfile
sys.path.insert(0, {root!r})
from adapters.formats import batch_xlsx, camt053, channel_xml, pain001, pain002, sheet, table
from adapters.model import ParseError
from adapters.read import parse
import tests.adapters.test_hostile as t

def peak_bytes():
    # Not `ru_maxrss`: a process begins with what the one that started it had taken, and a large
    # one would hide everything. This is of its own memory only.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024

def run():
{body}

base = peak_bytes()
try:
    code = run()
except ParseError as refused:
    code = refused.code
print(code, peak_bytes() - base)
"""
MEGABYTE = 1 << 20


def numbered_tags() -> bytes:
    """A million tags, no two of them the same."""
    held = io.BytesIO()
    for number in range(1 << 20):
        held.write(b"<A%d>" % number)
    return held.getvalue()


def probe(body: str) -> tuple[str, int]:
    """What the code returns, or the refusal's code, and how much memory it took at its peak."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    code = PROBE.format(root=str(Path(__file__).parents[2]), body=indented)
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own text
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, peak_bytes = done.stdout.split()
    return found, int(peak_bytes)


class Endless(io.RawIOBase):
    """A file of one piece again and again, made while it is read."""

    def __init__(self, head: bytes, piece: bytes, size_bytes: int) -> None:
        self._head, self._piece, self._left_bytes, self._at = head, piece, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        assert (offset, whence) == (0, 0)
        self._at = 0
        return 0

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # a plain buffer is enough here
        size = min(len(buffer), self._left_bytes - self._at)
        if self._at < len(self._head):
            size = min(size, len(self._head) - self._at)
            buffer[:size] = self._head[self._at : self._at + size]
        else:
            start = (self._at - len(self._head)) % len(self._piece)
            pieces = self._piece * (2 + size // len(self._piece))
            buffer[:size] = pieces[start : start + size]
        self._at += size
        return size


DOCUMENT = b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt>'


@pytest.mark.parametrize("piece", ["<a>", "<Stmt>", "<Ntry>", "text "])
def test_200_mb_of_nesting_take_no_memory(piece: str) -> None:
    code, peak_bytes = probe(
        f"source = t.Endless(t.DOCUMENT, {piece.encode()!r}, 200 << 20)\n"
        "return len(list(camt053.stream(source)))"
    )
    assert code == "xml_malformed"
    assert peak_bytes < 40 * MEGABYTE


@pytest.mark.parametrize(
    ("content", "size_megabytes", "codes"),
    [
        ("b':20:' + b'A' * (100 << 20)", 100, {"line_too_long"}),
        ("b'01,' + b'A' * (100 << 20)", 100, {"line_too_long"}),
        ("b'a,' * (50 << 20)", 100, {"line_too_long"}),
        ("b'a,' * 500_000 + b'\\n'", 1, {"format_unknown", "columns_too_many"}),
        ("b'OFXHEADER:100\\n<OFX><STMTRS>' + b'A' * (100 << 20)", 100, {"1"}),
        ("b'OFXHEADER:100\\n<OFX>' + b'<STMTRS>' * (4 << 20)", 32, {"findings_too_many"}),
        ("b'OFXHEADER:100\\n<OFX><STMTRS>' + b'<STATUS>' * (4 << 20)", 32, {"nesting_too_deep"}),
        (
            "b'OFXHEADER:100\\n<OFX><STMTRS>' + t.numbered_tags()",
            24,
            {"values_too_many"},
        ),
        ("t.BAI2.encode() + b'16,' * (1 << 20)", 4, {"line_too_long"}),
        ("t.BAI2.encode() + b'16,x\\n' * (4 << 20)", 20, {"findings_too_many"}),
        ("t.TWO_SIDES.encode() + b'\"' + b'x\\n' * (4 << 20)", 8, {"csv_malformed"}),
        ("t.TWO_SIDES.encode() + b'x\\n' * (16 << 20)", 32, {"findings_too_many"}),
        ("b'PK\\x03\\x04' + b'x' * (100 << 20)", 100, {"zip_malformed"}),
    ],
)
def test_a_huge_file_costs_a_few_times_its_size_at_most(
    content: str, size_megabytes: int, codes: set[str]
) -> None:
    code, peak_bytes = probe(f"return len(parse({content}).statements)")
    assert code in codes
    assert peak_bytes < (40 + 4 * size_megabytes) * MEGABYTE


def _tree(message: str, opening: str, piece: str, size_megabytes: int) -> str:
    head = f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{message}"><M>{opening}'
    return f"{head.encode()!r} + {piece.encode()!r} * (({size_megabytes} << 20) // {len(piece)})"


CAMT = "camt.053.001.02"
read_order, read_answer = (XML_READERS[f"channel {one}"].read for one in ("order", "answer"))
MOST_TREE_MEGABYTES = 400
"""A node of the tree takes about 120 bytes, one with an attribute 400: two million signs of markup
make 250 megabytes of empty elements, 350 of attributes. Before there was a bound on them 64
megabytes of text took two thousand."""


@pytest.mark.parametrize(
    ("call", "content", "code"),
    [
        ("t.parse", _tree(CAMT, "<Stmt><Ntry>", '<a b=""/>', 64), "xml_too_large"),
        ("t.parse", _tree(CAMT, "<GrpHdr>", "<a/>" * 9 + "<Ntry/>", 64), "xml_too_large"),
        ("t.parse", _tree(CAMT, "<Stmt><Ntry>", "<a/>" * 9 + "<Stmt/>", 64), "xml_too_large"),
        ("t.parse", _tree(CAMT, "", "<Stmt/>", 64), "findings_too_many"),
        ("t.parse", _tree(CAMT, "<Stmt>", "<Ntry/>", 64), "findings_too_many"),
        ("t.parse_status", _tree("pain.002.001.10", "", "<TxInfAndSts/>", 64), "xml_too_large"),
        ("t.parse_status", _tree("pain.002.001.10", "", "<a>", 200), "xml_too_large"),
        ("pain001.parse", _tree("pain.001.001.09", "<PmtInf>", "<a/>", 64), "xml_too_large"),
        ("t.read_order", "b'<CMS><eb>' + b'<a/>' * (8 << 20)", "xml_too_large"),
        ("t.read_answer", "b'<a>' * (70 << 20)", "file_too_large"),
        ("t.parse", "b'<!DOCTYPE a [' + b'<!ENTITY a \"b\">' * (4 << 20)", "xml_malformed"),
    ],
)
def test_a_tree_of_any_shape_is_refused_before_it_fills_the_memory(
    call: str, content: str, code: str
) -> None:
    found, peak_bytes = probe(f"content = {content}\n{call}(content)")
    assert found == code
    assert peak_bytes < (MOST_TREE_MEGABYTES + 200) * MEGABYTE  # the text itself is made here too


def test_one_entry_for_twenty_thousand_payments_is_no_attack() -> None:
    money = '<AmtDtls><TxAmt><Amt Ccy="CNY">1.00</Amt></TxAmt></AmtDtls>'
    payee = "<RltdPties><Cdtr><Nm>X</Nm></Cdtr><CdtrAcct><Id><IBAN>Y</IBAN></Id></CdtrAcct>"
    details = "".join(
        f"<TxDtls><Refs><EndToEndId>P{number}</EndToEndId></Refs>{money}{payee}</RltdPties>"
        "<RmtInf><Ustrd>Z</Ustrd></RmtInf></TxDtls>"
        for number in range(20_000)
    )
    own = '<Amt Ccy="CNY">20000.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>'
    day = "<BookgDt><Dt>2026-03-02</Dt></BookgDt><AcctSvcrRef>E1</AcctSvcrRef>"
    entry = f"<Ntry>{own}{day}<NtryDtls>{details}</NtryDtls></Ntry>"
    end = b"</Stmt></BkToCstmrStmt></Document>"
    parsed = parse(DOCUMENT + b"<Stmt>" + entry.encode() + end)
    assert [len(one.entries) for one in parsed.statements] == [20_000]


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ("t.parse", "xl/sharedStrings.xml"),
        ("(lambda one: batch_xlsx.parse(one, t.BOOKS))", "xl/worksheets/sheet1.xml"),
    ],
)
def test_a_small_workbook_of_many_elements_is_refused(call: str, part: str) -> None:
    """Some sixty kilobytes that unpack to sixty-three megabytes of empty elements."""
    content = f"t._with_part({part!r}, b'<a>' + b'<a/>' * (63 << 18))"
    found, peak_bytes = probe(f"{call}({content})")
    assert found == "xml_too_large"
    assert peak_bytes < MOST_TREE_MEGABYTES * MEGABYTE


@pytest.mark.parametrize("name", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels"])
def test_a_doctype_in_any_part_that_is_read_is_refused(name: str) -> None:
    assert said(_with_part(name, b'<!DOCTYPE x [<!ENTITY a "b">]><x/>')) == "doctype_refused"


@pytest.mark.parametrize(
    ("flag_bits", "method", "code"),
    [(1, zipfile.ZIP_DEFLATED, "zip_malformed"), (0, 99, "zip_malformed"), (0, 1, "zip_malformed")],
    ids=["with a password", "encrypted by another method", "packed by a method of long ago"],
)
def test_an_archive_that_cannot_be_opened_is_refused_by_name(
    flag_bits: int, method: int, code: str
) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", _statement())
    content = bytearray(held.getvalue())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(mark) + at
        content[start] |= flag_bits
        content[start + 2] = method
    assert said(bytes(content)) == code


def test_members_that_are_too_much_together_are_refused() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(80):
            archive.writestr(f"{number}.xml", _statement() + b" " * MEGABYTE)
    assert len(held.getvalue()) < MEGABYTE
    assert said(held.getvalue()) == "zip_too_large"


def test_a_member_that_claims_to_be_small_is_measured_all_the_same() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", b" " * (70 * MEGABYTE))
    small, large = (number.to_bytes(4, "little") for number in (1000, 70 * MEGABYTE))
    assert said(held.getvalue().replace(large, small)) in {"zip_too_large", "zip_malformed"}


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-1+cmd", "@SUM(A1)", "\t=1", "=HYPERLINK(A1)"])
def test_a_text_of_a_workbook_that_looks_like_a_formula_stays_text_and_is_marked(text: str) -> None:
    rows: list[list[object]] = [
        ["账号：4402000100000000001"],
        ["交易日期", "摘要", "借方发生额", "贷方发生额", "余额", "对方户名", "对方账号"],
        [date(2026, 3, 2), text, "", 1234.5, 2234.5, text, "6222"],
    ]
    parsed = parse(workbook(rows, strings_to_formulas=False))
    (entry,) = parsed.statements[0].entries
    assert (entry.text, entry.counterparty_name) == (text.strip(), text.strip())
    assert "formula_text" in {one.code for one in parsed.findings}
    assert codes(parsed) == set()


def _bomb(name: str, part: str) -> str:
    return f"return len(parse(t._with_part({name!r}, {part})).statements)"


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
HEAD = f'<worksheet xmlns="{MAIN}"><sheetData>'.encode()


@pytest.mark.parametrize(
    ("body", "code", "most_megabytes"),
    [
        (_bomb("xl/sharedStrings.xml", "b' ' * (200 << 20)"), "zip_too_large", 500),
        (_bomb("xl/worksheets/sheet1.xml", "b'<a>' * (30 << 20)"), "workbook_malformed", 500),
        (
            _bomb(
                "xl/worksheets/sheet1.xml",
                't.HEAD + b\'<row r="1"><c r="A1"><v>1</v></c></row>\' * (1 << 21)',
            ),
            "format_unknown",
            500,
        ),
    ],
)
def test_a_workbook_that_swells_is_refused(body: str, code: str, most_megabytes: int) -> None:
    """The peak holds the bomb itself, which the probe makes first."""
    found, peak_bytes = probe(body)
    assert found == code
    assert peak_bytes < most_megabytes * MEGABYTE


def test_many_cells_that_share_one_long_text_are_refused() -> None:
    text = "x" * (sheet.MAX_CELL_CHARACTERS - 1)
    rows: list[list[object]] = [[text] * 200 for _ in range(300)]
    with pytest.raises(ParseError, match="cell_too_long"):
        list(sheet.rows(workbook(rows), ","))


# Fuzz: real files, damaged.


def real_files(files: Path) -> list[Path]:
    patterns = (
        "bai2/*/tests/data/*.bai2",
        "mock-bank/*/tests/samples/external/bai2-*.txt",
        "bankfile/*/corpus/banks/*/*.[oq]fx",
        "odoo-addon-account-statement-import-sheet-file/**/fixtures/*.*s[vx]*",
        "mt-940/**/*.sta",
        "odoo-addon-account-statement-import-camt/**/samples/test-camt*",
    )
    return sorted(path for pattern in patterns for path in files.glob(pattern))


edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 40),
        st.binary(max_size=8)
        | st.sampled_from(
            [b"\n", b"/", b",", b'"', b"<", b">", b":61:", b"16,", b"88,", b"<STMTTRN>", b"-", b"="]
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pick=st.integers(0, 10**6), changes=edits)
def test_a_damaged_real_file_is_read_or_refused(
    files: Path, pick: int, changes: list[tuple[float, int, bytes]]
) -> None:
    paths = real_files(files)
    content = paths[pick % len(paths)].read_bytes()
    for where, cut, put in changes:
        at = int(where * len(content))
        content = content[:at] + put + content[at + cut :]
    assert said(content) is not None


CORPUS_SAYS: dict[str, str | tuple[int, set[str]]] = {
    # A comma more at the end of the account record shifted every balance behind it.
    "balances-one-comma-more.bai2": (2, set()),
    # The first word that looked like a charset was believed.
    "charset-behind-encoding.ofx": (1, {"balance_missing"}),
    # A label looked for in any cell took an entry for a total.
    "entry-named-like-a-total.csv": (4, {"row_ignored"}),
    # 5 kB that claim a grid of 17 thousand million cells: another reader ended the process.
    "grid-of-all-cells.xlsx": "format_unknown",
    # A line without a record code was lost.
    "wrapped-line.bai2": (2, {"record_wrapped"}),
}


def test_what_broke_a_reader_once_is_read_or_refused() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(CORPUS_SAYS)
    for name, expected in CORPUS_SAYS.items():
        found = said((CORPUS / name).read_bytes())
        if isinstance(found, Parsed):
            entries = sum(len(one.entries) for one in found.statements)
            assert (entries, {one.code for one in found.findings}) == expected, name
        else:
            assert found == expected, name
