"""Hostile and broken input of every format: a named refusal or a finding, bounded memory."""

import io
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.formats import sheet
from adapters.model import Parsed, ParseError
from adapters.read import parse
from tests.adapters.test_bai2 import SMALL as BAI2
from tests.adapters.test_ofx import SMALL as OFX
from tests.adapters.test_table import ICBC, TWO_SIDES, workbook

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
import io, resource, sys, zipfile
sys.path.insert(0, {root!r})
from adapters.formats import camt053, sheet, table
from adapters.model import ParseError
from adapters.read import parse
import tests.adapters.test_hostile as t

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

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
            "b'OFXHEADER:100\\n<OFX><STMTRS>' + b''.join(b'<A%d>' % n for n in range(1 << 20))",
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
