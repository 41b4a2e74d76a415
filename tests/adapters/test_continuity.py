"""Statements of one account put one behind the other: nothing twice, nothing missing."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.continuity import Chain, check
from adapters.formats.entries import Identities
from adapters.model import Balance, Entry, Finding, Severity, Statement
from tests.adapters.samples import DAY


def entry(name: str, amount_minor: int, on: date = DAY) -> Entry:
    return Entry(name, on, on, amount_minor, "CNY")


def statement(
    opening_minor: int | None, *entries: Entry, name: str = "", on: date = DAY, gap: int = 0
) -> Statement:
    """One that adds up, but for `gap`."""
    total_minor = sum(one.amount_minor for one in entries) + gap
    opening = None if opening_minor is None else Balance(on, opening_minor)
    last = max((one.booking_date for one in entries), default=on)
    closing = None if opening is None else Balance(last, opening.amount_minor + total_minor)
    return Statement(name, "4402", "CNY", opening, closing, entries)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [one.code for one in findings]


def after(*statements: Statement) -> Chain:
    return check(statements).chain


FIRST = statement(1000, entry("A", 5), entry("B", -3))
NEXT_DAY = DAY + timedelta(days=1)


def test_statements_that_follow_one_another_are_found_good() -> None:
    second = statement(1002, entry("C", 7, NEXT_DAY), on=NEXT_DAY)
    chained = check([second, FIRST])
    assert chained.findings == ()
    assert [one.entry_id for one in chained.chain.entries] == ["A", "B", "C"]
    assert chained.chain.closing == Balance(NEXT_DAY, 1009)


def test_a_missing_statement_is_a_gap_with_its_amount() -> None:
    second = statement(1502, entry("C", 7, NEXT_DAY), on=NEXT_DAY)
    (found,) = check([second], after(FIRST)).findings
    assert (found.code, found.severity) == ("statement_gap", Severity.ERROR)
    assert "500 minor units" in found.message
    assert DAY.isoformat() in found.message


def test_the_same_statement_again_adds_nothing() -> None:
    chained = check([replace(FIRST, statement_id="other")], after(FIRST))
    assert codes(chained.findings) == ["statement_repeated"]
    assert chained.chain.entries == after(FIRST).entries


def test_an_overlapping_download_adds_what_is_new() -> None:
    wider = statement(1000, entry("A", 5), entry("B", -3), entry("C", 7, NEXT_DAY))
    chained = check([wider], after(FIRST))
    assert codes(chained.findings) == ["statement_overlap"]
    assert [one.entry_id for one in chained.chain.entries] == ["A", "B", "C"]
    assert chained.chain.closing == Balance(NEXT_DAY, 1009)


def test_an_overlap_that_does_not_add_up_is_an_error() -> None:
    wider = statement(1000, entry("A", 5), entry("C", 7, NEXT_DAY))
    found = check([wider], after(FIRST)).findings
    assert codes(found) == ["statement_overlap", "overlap_inconsistent"]


def test_a_known_entry_with_another_amount_is_an_error() -> None:
    changed = statement(1000, entry("A", 6), entry("C", 7, NEXT_DAY))
    assert "entry_changed" in codes(check([changed], after(FIRST)).findings)


def test_rows_that_equal_earlier_ones_in_a_continuation_are_entries_of_their_own() -> None:
    morning = statement(1000, entry("row-1", 5), entry("row-1~2", 5))
    evening = statement(1010, entry("row-1", 5))
    chained = check([evening], after(morning))
    assert chained.findings == ()
    ids = [one.entry_id for one in chained.chain.entries]
    assert ids == ["row-1", "row-1~2", "row-1~3"]
    whole_day = statement(1000, *(entry(one, 5) for one in ids))
    again = check([whole_day], chained.chain)
    assert codes(again.findings) == ["statement_repeated"]
    assert again.chain.entries == chained.chain.entries


def test_an_id_is_used_again_in_another_year_but_not_in_the_same() -> None:
    january = date(2027, 1, 4)
    named = replace(FIRST, statement_id="1/1")
    same_year = statement(1002, entry("C", 7, NEXT_DAY), name="1/1", on=NEXT_DAY)
    next_year = statement(1002, entry("C", 7, january), name="1/1", on=january)
    assert codes(check([same_year], after(named)).findings) == ["statement_id_reused"]
    assert codes(check([next_year], after(named), idle_days=400).findings) == []


def test_the_last_day_again_or_twins_that_cancel_out_is_left_to_a_person() -> None:
    known = after(statement(1000, entry("row-A", 5), entry("row-B", -5)))
    same = statement(1000, entry("row-A", 5), entry("row-B", -5), entry("row-C", 7))
    chained = check([same], known)
    assert codes(chained.findings) == ["overlap_ambiguous", "statement_overlap"]
    assert [one.entry_id for one in chained.chain.entries] == ["row-A", "row-B", "row-C"]


def test_serials_tell_the_last_day_again_from_twins_that_cancel_out() -> None:
    known = after(statement(1000, entry("A", 5), entry("B", -5)))
    same = statement(1000, entry("A", 5), entry("B", -5), entry("C", 7))
    chained = check([same], known)
    assert codes(chained.findings) == ["statement_overlap"]
    assert [one.entry_id for one in chained.chain.entries] == ["A", "B", "C"]


def test_a_row_without_a_serial_that_repeats_and_continues_alike_is_left_to_a_person() -> None:
    """Five came, five came, five went: five more may be the second five again, or a third."""
    once = statement(1000, entry("row-A", 5))
    again = statement(1005, entry("row-A", 5))
    back = statement(1010, entry("row-B", -5))
    known = check([back], check([again], after(once)).chain).chain
    assert "overlap_ambiguous" in codes(check([again], known).findings)


def test_pages_again_in_other_slices_add_nothing() -> None:
    known = check([statement(1005, entry("B", 7))], after(statement(1000, entry("A", 5)))).chain
    for again in (
        statement(1000, entry("A", 5)),
        statement(1005, entry("B", 7)),
        statement(1000, entry("A", 5), entry("B", 7)),
    ):
        assert codes(check([again], known).findings) == ["statement_repeated"]


def test_a_quiet_day_is_no_repetition_but_a_later_closing() -> None:
    chained = check([statement(1002, on=NEXT_DAY)], after(FIRST))
    assert (chained.findings, chained.chain.closing) == ((), Balance(NEXT_DAY, 1002))


def test_a_repetition_that_lacks_an_entry_is_an_error() -> None:
    known = after(statement(1000, entry("A", 5), entry("B", 3), entry("C", 7, NEXT_DAY)))
    shorter = statement(1000, entry("A", 5))
    whole = statement(1000, entry("A", 5), entry("C", 7, NEXT_DAY))
    missing = statement(1000, entry("B", 3))
    assert codes(check([shorter], known).findings) == ["statement_repeated"]
    assert "overlap_inconsistent" in codes(check([whole], known).findings)
    assert "overlap_inconsistent" in codes(check([missing], known).findings)


def test_the_same_rows_under_other_names_are_not_added_a_second_time() -> None:
    """As when a bank's second format words them differently."""
    renamed = statement(1000, entry("X", 5), entry("Y", -3))
    assert codes(check([renamed], after(FIRST)).findings) == ["overlap_inconsistent"]


def test_long_silence_is_told() -> None:
    later = DAY + timedelta(days=12)
    second = statement(1002, entry("C", 7, later), on=later)
    (found,) = check([second], after(FIRST)).findings
    assert (found.code, found.severity) == ("days_without_statement", Severity.WARNING)
    assert "11 days" in found.message


def test_a_statement_of_closed_days_that_brings_something_new_is_an_error() -> None:
    before = DAY - timedelta(days=3)
    late = statement(900, entry("Z", 100, before), on=before)
    chained = check([late], after(FIRST))
    assert codes(chained.findings) == ["statement_late"]
    assert chained.chain.closing == after(FIRST).closing


def test_without_balances_nothing_is_claimed() -> None:
    second = statement(None, entry("C", 7, NEXT_DAY))
    chained = check([second], after(FIRST))
    assert codes(chained.findings) == ["continuity_unknown"]
    assert chained.chain.closing == Balance(NEXT_DAY, 1009)


def test_a_closing_balance_alone_is_enough() -> None:
    second = statement(1002, entry("C", 7, NEXT_DAY), on=NEXT_DAY)
    assert check([replace(second, opening=None)], after(FIRST)).findings == ()
    wrong = replace(second, opening=None, closing=Balance(NEXT_DAY, 1010))
    assert codes(check([wrong], after(FIRST)).findings) == ["statement_gap"]


def test_accounts_are_never_mixed() -> None:
    with pytest.raises(ValueError, match="more than one account"):
        check([FIRST, replace(FIRST, account="other")])


moves = st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3)), max_size=12)


def cut(rows: list[tuple[int, int]], cuts: list[int]) -> list[Statement]:
    """The rows of a week as statements that end behind these days; ids as a reader gives them."""
    parts, balance_minor = [], 1000
    ends = sorted({*cuts, 6})
    for start, end in zip([-1, *ends[:-1]], ends, strict=True):
        identities = Identities()
        named = [
            identities.name(entry("", amount, DAY + timedelta(days=day)), "")[0]
            for day, amount in sorted(rows, key=lambda row: row[0])
            if start < day <= end
        ]
        one = statement(balance_minor, *named, on=DAY + timedelta(days=start + 1))
        parts.append(one)
        balance_minor += sum(moved.amount_minor for moved in named)
    return parts


@given(moves, st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_two_ways_to_cut_a_week_give_the_same_entries(
    rows: list[tuple[int, int]], cuts: list[int], other: list[int]
) -> None:
    """However a bank slices the days and however often it sends them: each entry once."""
    once = check(cut(rows, cuts))
    assert [one for one in once.findings if one.severity is Severity.ERROR] == []
    again = check(cut(rows, other), once.chain)
    allowed = {"statement_repeated", "statement_overlap", "overlap_ambiguous"}
    assert {one.code for one in again.findings} <= allowed
    assert sorted(again.chain.entries, key=repr) == sorted(once.chain.entries, key=repr)
    assert sum(one.amount_minor for one in again.chain.entries) == sum(a for _, a in rows)


@given(moves.filter(bool), st.data())
def test_a_statement_left_out_never_goes_unseen(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    parts = cut(rows, [0, 1, 2, 3, 4, 5])
    gone = data.draw(st.integers(1, len(parts) - 2))
    moved_minor = sum(one.amount_minor for one in parts[gone].entries)
    kept = parts[:gone] + parts[gone + 1 :]
    found = codes(check(kept).findings)
    assert ("statement_gap" in found) is (moved_minor != 0)
