"""What the fuzzer stands on, without it: its seeds, its changes, and the files that it found."""

import io
import re
import zipfile
from functools import cache
from random import Random

import pytest
from lxml import etree

from adapters.model import Outcome, Parsed, ParseError, Status
from tests.files.fetch import fetched
from tests.fuzz import run, seeds
from tests.fuzz.mutate import mutated
from tests.fuzz.readers import READERS, Reader

SHEET = "xl/worksheets/sheet1.xml"
CORPUS_SAYS = {
    # A NUL in a text was kept, which no database takes.
    "batch-text/nul-in-a-reply.txt": "nul_byte at byte 22",
    # Entries cut out by their shape were read, those of the parser were not.
    "camt/no-namespace.xml": "format_unknown at line 1",
    # tomllib took a minute for one key of as many parts as fit into a profile.
    "profile/key-of-many-parts.toml": "more than 40 dots on a line",
    # tomllib raises a bare ValueError.
    "profile/number-of-5000-digits.toml": "is no TOML",
}


def raised(content: bytes, error: type[Exception] | None, result: object = None) -> object:
    """What an attack makes of a reader that raises this, or returns the result."""

    def read(_: bytes) -> object:
        if error is not None:
            raise error("x", "y", "cell 1") if error is ParseError else error("x")
        return result

    return Reader("made", read, ParseError, "lines", ("x",)).attack(content)


def workbook_with(changes: dict[str, bytes]) -> bytes:
    """The seed of a batch workbook, some members set or put last."""
    with zipfile.ZipFile(io.BytesIO(seeds.made("batch-xlsx")[0])) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name not in changes}
    return seeds.packed({**members, **changes})


@pytest.mark.parametrize("name", READERS)
def test_every_made_seed_is_taken_by_its_reader(name: str) -> None:
    made = seeds.made(name)
    assert made
    for content in made:
        found = READERS[name].attack(content)
        assert not isinstance(found, Exception), found
        if isinstance(found, Parsed):
            assert any(one.entries for one in found.statements) or found.format == "camt.052"


@pytest.mark.parametrize("name", ["camt", "mt940", "bai2", "ofx", "table", "xlsx", "zip"])
def test_real_files_are_among_the_seeds_of_statements(name: str) -> None:
    assert len(seeds.seeds(name, fetched())) > len((*seeds.made(name), *seeds.broke_once(name)))


@pytest.mark.parametrize("name", CORPUS_SAYS)
def test_what_broke_a_reader_once_is_attacked_first(name: str) -> None:
    reader, _, _ = name.partition("/")
    assert (seeds.CORPUS / name).read_bytes() in seeds.seeds(reader, fetched())


def test_what_the_fuzzer_found_once_is_refused_by_name() -> None:
    found = {f"{path.parent.name}/{path.name}" for path in seeds.CORPUS.glob("*/*")}
    assert found == set(CORPUS_SAYS)
    for name, told in CORPUS_SAYS.items():
        refusal = READERS[name.partition("/")[0]].attack((seeds.CORPUS / name).read_bytes())
        assert isinstance(refusal, Exception), name
        assert told in str(refusal), name


@pytest.mark.parametrize("error", [KeyError, ValueError, RecursionError, ParseError])
def test_an_error_of_another_kind_or_without_a_place_is_a_crash(error: type[Exception]) -> None:
    with pytest.raises(AssertionError if error is ParseError else error):
        raised(b"", error)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
def test_a_text_that_no_database_keeps_is_a_crash(text: str) -> None:
    result = (Status("", "", text, "", "", Outcome.UNKNOWN),)
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        raised(b"", None, result)


def test_no_member_of_a_workbook_escapes_the_check_behind_a_hundred_others() -> None:
    with zipfile.ZipFile(io.BytesIO(seeds.made("batch-xlsx")[0])) as archive:
        sheet = archive.read(SHEET).replace(b"<v>", b"<f>1</f><v>", 1)
    refusal = READERS["batch-xlsx"].attack(workbook_with({SHEET: sheet}))
    assert "formula_refused" in str(refusal)
    others = {f"{number}.xml": b"<x/>" for number in range(100)}
    refusal = READERS["batch-xlsx"].attack(workbook_with({**others, SHEET: sheet}))
    assert "zip_too_large" in str(refusal)


def test_two_members_of_one_name_are_refused() -> None:
    held = io.BytesIO(seeds.made("batch-xlsx")[0])
    with zipfile.ZipFile(held, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(SHEET, b"<x/>")
    assert "zip_malformed" in str(READERS["batch-xlsx"].attack(held.getvalue()))


def scrambled(part: bytes) -> bytes:
    """Stands in for the fuzzer's own change."""
    return re.sub(rb"[0-9]", b"7", part) + b"x"


@cache
def first_seed(name: str) -> bytes:
    """Made once: a workbook says when."""
    return seeds.made(name)[0]


def changed(name: str, seed: int) -> bytes:
    reader, content = READERS[name], first_seed(name)
    random = Random(seed)  # noqa: S311 - repeatable, no secret
    return mutated(content, reader.shape, reader.words, random, scrambled)


@pytest.mark.parametrize("name", READERS)
def test_the_same_seed_makes_the_same_change_and_many_seeds_many(name: str) -> None:
    first = [changed(name, seed) for seed in range(40)]
    assert first == [changed(name, seed) for seed in range(40)]
    assert len(set(first)) > 15


def test_most_changes_of_xml_stay_well_formed() -> None:
    def well_formed(content: bytes) -> bool:
        try:
            etree.fromstring(content)
        except etree.XMLSyntaxError:
            return False
        return True

    assert sum(well_formed(changed("camt", seed)) for seed in range(100)) > 60


def test_most_changes_of_an_archive_stay_an_archive_and_reach_a_member() -> None:
    whole = first_seed("zip")
    packed = [
        one for seed in range(100) if zipfile.is_zipfile(io.BytesIO(one := changed("zip", seed)))
    ]
    assert len(packed) > 60
    assert sum(one != whole for one in packed) > 60


@pytest.mark.parametrize(
    ("code", "executions", "holds"), [(0, 500, True), (0, 3, False), (77, 500, False)]
)
def test_an_attack_that_crashed_or_never_got_through_its_seeds_is_broken(
    code: int, executions: int, holds: bool
) -> None:
    said = f"#9 DONE cov: 4 ft: 5\nstat::number_of_executed_units: {executions}"
    outcome = run._outcome("camt", code, said, least=20)
    assert (outcome.executions, outcome.covered) == (executions, "4/5")
    assert (not outcome.wrong) is holds
