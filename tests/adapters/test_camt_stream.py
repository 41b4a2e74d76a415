"""The short way through a camt file (entries by a known shape) says what the long way says."""

import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.formats import camt053, camt_shape, camt_stream
from adapters.formats.camt_record import Place, Record
from adapters.formats.entries import Identities
from adapters.model import Entry, Parsed, ParseError, Statement
from tests.adapters.samples import DAY, NOW, statements

SPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


def by_the_parser(content: bytes) -> Parsed | str:
    """What the file says when no entry is cut out of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camt_stream, "_is_plain", lambda _text: False)
        return read(content)


def read(content: bytes) -> Parsed | str:
    try:
        return camt053.parse(content)
    except ParseError as refused:
        return f"{refused.code} {refused.location}"


def cut_out(content: bytes) -> int:
    """How many entries are read by their shape."""
    with pytest.MonkeyPatch.context() as patch:
        seen: list[Record] = []
        real = camt_shape.Shape.record

        def noted(shape: camt_shape.Shape, groups: tuple[str | None, ...], place: Place) -> Record:
            seen.append(real(shape, groups, place))
            return seen[-1]

        patch.setattr(camt_shape.Shape, "record", noted)
        camt053.parse(content)
        return len(seen)


def file(*entries: str, prefix: str = "", between: str = "\n", head: str = "") -> bytes:
    named = f"xmlns:{prefix}" if prefix else "xmlns"
    account = "<Id>S</Id><Acct><Id><IBAN>A1</IBAN></Id><Ccy>CNY</Ccy></Acct>"
    inner = f"<M><Stmt>{account}{between}{between.join(entries)}</Stmt></M></Document>"
    if prefix:
        inner = (
            inner.replace("</", "</\0")
            .replace("<", f"<{prefix}:")
            .replace(f"<{prefix}:/\0", f"</{prefix}:")
        )
        return f'<{prefix}:Document {named}="{SPACE}">{inner}'.encode()
    return f'{head}<Document {named}="{SPACE}">{inner}'.encode()


def ntry(serial: str = "E1", inner: str = "", amount: str = "5.00", text: str = "") -> str:
    return (
        f"<Ntry><NtryRef>{serial}</NtryRef>"
        f'<Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>'
        f"<BookgDt><Dt>2026-03-02</Dt></BookgDt>{inner}<AddtlNtryInf>{text}</AddtlNtryInf></Ntry>"
    )


def details(*inner: str) -> str:
    return f"<NtryDtls>{''.join(f'<TxDtls>{one}</TxDtls>' for one in inner)}</NtryDtls>"


def ustrd(*lines: str) -> str:
    return f"<RmtInf>{''.join(f'<Ustrd>{line}</Ustrd>' for line in lines)}</RmtInf>"


IRREGULAR = [
    ntry(text="a &amp; b"),
    ntry(text="a<!-- c -->b"),
    ntry(text="<![CDATA[</Ntry><Ntry>]]>"),
    ntry(text=" padded "),
    ntry(text="a\r\nb"),
    ntry(text="a\ufffd\u3000"),
    ntry(inner="<?pi x?>"),
    ntry(inner='<x:y xmlns:x="urn:other"><x:Amt/></x:y>'),
    ntry(inner="<Ntry>inner</Ntry>"),
    ntry(inner=details(ustrd("one", "", "two"))),
    ntry(inner=details("<RmtInf><Ustrd>a</Ustrd><Strd/><Ustrd>b</Ustrd></RmtInf>")),
    ntry(inner="mixed <NtryDtls/> text"),
    "<Ntry/>",
    '<Ntry run="0"/>',
    ntry().replace('Ccy="CNY"', "Ccy='CNY'"),
    ntry().replace("CNY", "JPY"),
    ntry().replace("BOOK", "PDNG"),
    ntry().replace("DBIT", ""),
    ntry(amount="x"),
]
REGULAR = [
    ntry(),
    ntry("", text="停车费 2026"),
    ntry("E2", inner="<RvslInd>true</RvslInd>"),
    ntry("E3", inner=details(ustrd("one"))),
    ntry("E3", inner=details(ustrd("one", "two", "three"))),
    ntry("E4", inner=details('<Amt Ccy="CNY">2.00</Amt>', '<Amt Ccy="CNY">3.00</Amt>')),
    ntry("E5", inner=details("<RtrInf/><AddtlTxInf>x</AddtlTxInf>")),
    ntry("E6", inner=details("<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")),
    ntry(
        "E7", inner="<NtryDtls><Btch><PmtInfId>B</PmtInfId><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>"
    ),
    ntry("E8", inner='<NtryDtls><Btch><TtlAmt Ccy="CNY">4.00</TtlAmt></Btch></NtryDtls>'),
    ntry("E8", inner="<NtryDtls><Btch><TtlAmt/></Btch><TxDtls/></NtryDtls>"),
    ntry("E9", inner="<AcctSvcrRef>A</AcctSvcrRef><AcctSvcrRef>B</AcctSvcrRef>"),
]


@pytest.mark.parametrize("one", REGULAR)
def test_an_entry_of_a_plain_shape_is_cut_out_and_says_the_same(one: str) -> None:
    content = file(one, one, ntry("Z"))
    assert cut_out(content) == 3
    assert read(content) == by_the_parser(content)


@pytest.mark.parametrize("one", IRREGULAR)
def test_an_entry_of_any_other_kind_says_the_same(one: str) -> None:
    content = file(ntry("A"), one, one, ntry("Z"))
    assert read(content) == by_the_parser(content)


@given(
    st.lists(st.sampled_from(REGULAR + IRREGULAR), max_size=6), st.sampled_from(["", "\n", "\r\n "])
)
def test_any_mixture_says_the_same(entries: list[str], between: str) -> None:
    content = file(*entries, between=between)
    assert read(content) == by_the_parser(content)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_says_the_same(first: str, second: str) -> None:
    content = file(ntry("A"), ntry("B", text="plain")).decode()
    for text in (first, second):
        content = content.replace("</Ntry>", f"<X>{text}</X></Ntry>")
        content = content.replace("plain", f"{text}plain", 1)
    encoded = content.encode("utf-8", "surrogatepass")
    assert read(encoded) == by_the_parser(encoded)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4), st.integers(0, 30))
def test_any_damage_says_the_same(at: int, put: bytes, cut: int) -> None:
    whole = file(*REGULAR)
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + cut :]
    found, expected = read(damaged), by_the_parser(damaged)
    if isinstance(found, str) or isinstance(expected, str):
        assert isinstance(found, str) and isinstance(expected, str)  # noqa: PT018 - both or neither
        assert found.split()[0] == expected.split()[0]
    else:
        assert found == expected


@settings(max_examples=30)
@given(statements(), st.integers(1, 400))
def test_the_size_of_a_chunk_changes_nothing(one: Statement, chunk_bytes: int) -> None:
    content = camt053.render(one, "M1", NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camt_stream, "_CHUNK_BYTES", chunk_bytes)
        assert camt053.parse(content) == Parsed("camt.053", (one,), ())


def test_an_entry_longer_than_what_is_held_is_the_parsers() -> None:
    content = file(ntry("A"), ntry("B", text="x" * 500), ntry("C"))
    expected = read(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camt_stream, "_CHUNK_BYTES", 16)
        patch.setattr(camt_stream, "_MAX_HELD_CHARS", 400)
        assert read(content) == expected


def test_names_with_a_prefix_are_cut_out_too() -> None:
    content = file(ntry("A"), ntry("B"), prefix="ns2")
    assert cut_out(content) == 2
    assert read(content) == by_the_parser(content)


def test_a_finding_names_the_line_in_both_ways() -> None:
    content = file(ntry("A"), ntry("B", amount="x"), ntry("B", amount="y").replace("><", ">\n<"))
    found = read(content)
    assert found == by_the_parser(content)
    assert isinstance(found, Parsed)
    assert [f.location for f in found.findings if f.code == "amount_invalid"] == [
        "line 3",
        "line 4",
    ]


def test_more_shapes_than_are_learnt_say_the_same() -> None:
    entries = [ntry(f"E{n}", inner="<Y/>" * n) for n in range(100)] * 2
    content = file(*entries)
    assert read(content) == by_the_parser(content)


def test_a_gb18030_file_is_cut_out_too() -> None:
    head = '<?xml version="1.0" encoding="GBK"?>'
    content = (
        file(ntry("A", text="堃镕㐂"), ntry("B", text="王"), head=head).decode().encode("gb18030")
    )
    assert cut_out(content) == 2
    parsed = read(content)
    assert isinstance(parsed, Parsed)
    assert [e.text for e in parsed.statements[0].entries] == ["堃镕㐂", "王"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_text_that_is_not_of_its_encoding_is_refused(encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    content = file(ntry("A", text="zz"), head=head).replace(b"zz", b"\xff\xff")
    assert str(read(content)).startswith("xml_malformed")


def test_a_wanted_name_in_a_foreign_place_is_no_entry() -> None:
    content = file(f"<Other>{ntry('A')}{ntry('B')}</Other>", ntry("C"))
    parsed = read(content)
    assert isinstance(parsed, Parsed)
    assert [e.entry_id for e in parsed.statements[0].entries] == ["C"]


def test_every_file_of_other_programs_says_the_same(files: Path) -> None:
    seen = [
        *files.glob("**/camt.05*.xml"),
        *files.glob("**/test-camt05*"),
        *files.glob("**/*sepa-camt*"),
    ]
    contents = [path.read_bytes() for path in seen if path.is_file() and path.suffix != ".zip"]
    assert len(contents) >= 15
    for content in contents:
        assert read(content) == by_the_parser(content)


@pytest.mark.parametrize("opening", ["<Ntry>", "<Stmt><Ntry>", "<Ntry><a>"])
def test_nesting_without_end_is_refused_wherever_it_starts(opening: str) -> None:
    content = file(opening * 200_000)
    assert str(read(content)).startswith("xml_malformed")


@given(st.lists(st.text("abc", min_size=1, max_size=2), max_size=300))
def test_every_id_of_a_statement_is_its_own_and_the_first_is_as_given(given_ids: list[str]) -> None:
    identities = Identities()
    named = [identities.name(Entry(one, DAY, DAY, 1, "CNY"), "")[0].entry_id for one in given_ids]
    assert len(set(named)) == len(named)
    expected = [
        one if given_ids[:place].count(one) == 0 else f"{one}~{given_ids[:place].count(one) + 1}"
        for place, one in enumerate(given_ids)
    ]
    assert named == expected


def peak_bytes(entries: int) -> int:
    """What Python holds at most while a file of so many entries is streamed."""
    source = BytesIO(file(*(ntry(f"E{number}") for number in range(entries))))
    tracemalloc.start()
    count = sum(isinstance(item, Entry) for item in camt053.stream(source))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == entries
    return peak


def test_memory_does_not_grow_with_the_file() -> None:
    """Eight bytes and the room to grow for each id are all that is kept of an entry."""
    few, many = peak_bytes(4_000), peak_bytes(16_000)
    assert many - few < 12_000 * 64
