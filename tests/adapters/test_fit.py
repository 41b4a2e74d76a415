"""One statement among known ones: what is new, and what contradicts."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fit import Fitted, first_day, fit, last_day, since
from adapters.formats.entries import Identities
from adapters.model import Balance, Entry, Severity, Statement
from tests.adapters.samples import DAY

HELD_MINOR = 1000
BEFORE = Statement("", "4402", "CNY", Balance(DAY, HELD_MINOR), Balance(DAY, HELD_MINOR), ())
"""What the account held on day 0."""


def on(day: int) -> date:
    return DAY + timedelta(days=day)


def entry(name: str, amount_minor: int, day: int) -> Entry:
    return Entry(name, on(day), on(day), amount_minor, "CNY")


def statement(opening_minor: int, first: int, last: int, *entries: Entry) -> Statement:
    """From one day to another; it adds up."""
    closing_minor = opening_minor + sum(one.amount_minor for one in entries)
    opening, closing = Balance(on(first), opening_minor), Balance(on(last), closing_minor)
    return Statement("", "4402", "CNY", opening, closing, entries)


def said(fitted: Fitted) -> list[tuple[str, int, int, list[str]]]:
    """Of each part: last day, opening, closing, names."""
    return [
        (
            str((closing.date - DAY).days),
            opening.amount_minor,
            closing.amount_minor,
            [one.entry_id for one in part.entries],
        )
        for part in fitted.parts
        if (opening := part.opening) and (closing := part.closing)
    ]


def codes(fitted: Fitted) -> list[str]:
    return [one.code for one in fitted.findings]


def errors(fitted: Fitted) -> list[str]:
    return [one.code for one in fitted.findings if one.severity is Severity.ERROR]


A, B, C, D = (entry(name, 10**at, at + 1) for at, name in enumerate("ABCD"))
"""1, 10, 100 and 1000 on days 1 to 4."""
ONE = statement(1000, 1, 1, A)
TWO = statement(1001, 2, 2, B)
THREE = statement(1011, 3, 3, C)
FOUR = statement(1111, 4, 4, D)
WHOLE = statement(1000, 1, 4, A, B, C, D)


def test_a_month_fills_every_gap_with_a_statement_of_its_own() -> None:
    fitted = fit(WHOLE, [BEFORE, TWO, FOUR])
    assert said(fitted) == [("1", 1000, 1001, ["A"]), ("3", 1011, 1111, ["C"])]
    assert codes(fitted) == ["statement_overlap"]


def test_a_statement_that_was_missing_fits_in_between_without_a_word() -> None:
    fitted = fit(TWO, [ONE, THREE])
    assert (said(fitted), codes(fitted)) == ([("2", 1001, 1011, ["B"])], [])


def test_a_gap_is_a_warning_that_names_amount_and_day() -> None:
    (found,) = fit(THREE, [ONE]).findings
    assert (found.code, found.severity) == ("statement_gap", Severity.WARNING)
    assert found.message == f"10 minor units are not explained since {on(1)}"


def test_a_gap_may_be_filled_in_part() -> None:
    fitted = fit(TWO, [ONE, FOUR])
    assert (said(fitted), codes(fitted)) == ([("2", 1001, 1011, ["B"])], [])


def test_an_entry_that_opens_a_gap_where_none_was_is_refused() -> None:
    odd = statement(1001, 2, 2, entry("Z", 7, 2))
    closed = replace(THREE, opening=Balance(on(3), 1001), closing=Balance(on(3), 1101))
    assert errors(fit(odd, [ONE, closed])) == ["statement_late"]


def test_a_month_that_does_not_lead_to_the_known_next_day_is_refused() -> None:
    wrong = statement(1000, 1, 4, A, replace(B, amount_minor=11), C, D)
    assert errors(fit(wrong, [ONE, THREE, FOUR])) != []


def test_days_that_add_up_to_zero_are_no_gap_and_still_fit_in_when_they_come() -> None:
    nothing = statement(1001, 2, 2, entry("Y", 5, 2), entry("Z", -5, 2))
    later = replace(THREE, opening=Balance(on(3), 1001), closing=Balance(on(3), 1101))
    fitted = fit(nothing, [ONE, later])
    assert (said(fitted), codes(fitted)) == ([("2", 1001, 1001, ["Y", "Z"])], [])


def test_an_entry_of_a_day_that_a_known_statement_covers_is_refused() -> None:
    late = statement(1000, 1, 2, A, B, entry("Z", 7, 2))
    assert errors(fit(late, [BEFORE, WHOLE])) != []


def test_quiet_days_are_told_by_a_part_without_entries() -> None:
    fitted = fit(statement(1000, 1, 3, A), [BEFORE, ONE])
    assert said(fitted) == [("3", 1001, 1001, [])]
    assert fit(statement(1001, 1, 1), [BEFORE, ONE]).parts == ()


def test_a_page_that_follows_on_its_day_may_hold_equal_rows() -> None:
    row = entry("row-1", 5, 2)
    first, second = statement(1001, 2, 2, row), statement(1006, 2, 2, row)
    fitted = fit(second, [ONE, first])
    assert said(fitted) == [("2", 1006, 1011, ["row-1~2"])]


def test_a_page_that_comes_after_a_later_one_of_its_day_is_refused() -> None:
    """Those of one day stand in the order of their coming: else the night finds it broken."""
    pages = [statement(1001 + 5 * at, 2, 2, entry(f"P{at}", 5, 2)) for at in range(3)]
    assert codes(fit(pages[2], [ONE, pages[0]])) == ["statement_gap"]
    assert errors(fit(pages[1], [ONE, pages[0], pages[2]])) == ["overlap_inconsistent"]
    assert errors(fit(pages[0], [ONE, pages[1]])) == ["statement_late"]


def test_rows_without_serials_that_repeat_the_first_day_or_continue_it_are_refused() -> None:
    rows = entry("row-1", 5, 2), entry("row-2", -5, 2)
    day = statement(1001, 2, 2, *rows)
    assert errors(fit(statement(1001, 2, 3, *rows, C), [ONE, day])) == ["overlap_ambiguous"]
    assert errors(fit(statement(1000, 1, 3, A, *rows, C), [ONE, day])) == []


def test_a_serial_used_anew_each_day_is_one_name_in_a_day_and_in_a_month() -> None:
    """A reader counts the second use of a serial within one file, whatever its day."""
    daily = [statement(1000, 1, 1, entry("7", 1, 1)), statement(1001, 2, 2, entry("7", 10, 2))]
    month = statement(1000, 1, 2, entry("7", 1, 1), entry("7~2", 10, 2))
    assert codes(fit(month, [BEFORE, *daily])) == ["statement_repeated"]
    assert [one.entry_id for one in fit(month, [BEFORE]).parts[0].entries] == ["7", "7"]


def test_a_serial_of_the_banks_that_looks_counted_stays_as_it_is() -> None:
    fitted = fit(statement(1000, 1, 1, entry("7~2", 1, 1)), [BEFORE])
    assert said(fitted) == [("1", 1000, 1001, ["7~2"])]


def test_a_late_booking_in_known_days_stands_behind_them_and_before_what_follows() -> None:
    known = statement(1000, 1, 3, A, C)
    following = statement(1108, 5, 5, entry("E", 9, 5))
    whole = statement(1000, 1, 5, A, entry("Z", 7, 2), C, entry("E", 9, 5))
    assert said(fit(whole, [BEFORE, known, following])) == [("3", 1101, 1108, ["Z"])]


@pytest.mark.parametrize(("held_minor", "names"), [(1001, "BCD"), (1011, "CD"), (5, "BCD")])
def test_what_was_booked_before_an_account_was_taken_over_is_left_out(
    held_minor: int, names: str
) -> None:
    """On day 2, with its balance of that morning or of that evening, or with neither."""
    rest = since(WHOLE, on(2), held_minor)
    held = replace(BEFORE, opening=Balance(on(2), held_minor), closing=Balance(on(2), held_minor))
    fitted = fit(rest, [held])
    assert "".join(one.entry_id for part in fitted.parts for one in part.entries) == names
    assert codes(fitted) == (["statement_gap"] if held_minor == 5 else [])


# --- any slices, in any order -----------------------------------------------------------------

DAYS = 6
moves = st.lists(st.tuples(st.integers(1, DAYS), st.integers(1, 3)), max_size=12)
serials = st.lists(st.tuples(st.integers(1, DAYS), st.integers(-3, 3).filter(bool)), max_size=12)
spans = st.tuples(st.integers(1, DAYS), st.integers(1, DAYS)).map(sorted)


def slice_of(rows: list[tuple[int, int]], first: int, last: int, serial: bool) -> Statement:
    """A download of some days, with the names that a reader gives."""
    ordered = sorted(enumerate(rows), key=lambda row: row[1][0])
    identities = Identities()
    named = [
        identities.named(entry(f"S{number}" if serial else "", amount, day))
        for number, (day, amount) in ordered
        if first <= day <= last
    ]
    before_minor = sum(amount for day, amount in rows if day < first)
    return statement(HELD_MINOR + before_minor, first, last, *named)


def around(known: list[Statement], one: Statement) -> list[Statement]:
    """Of what is known: the last before it, those that share days with it, the first after it."""
    first, last = first_day(one), last_day(one)
    days = [
        (each, each.opening.date, each.closing.date)
        for each in known
        if each.opening and each.closing
    ]
    before = [each for each, _, end in days if end < first]
    sharing = [each for each, start, end in days if end >= first and start <= last]
    after = [each for each, start, _ in days if start > last]
    return [*([BEFORE, *before][-1:]), *sharing, *after[:1]]


def take(known: list[Statement], one: Statement) -> list[Statement]:
    """What is known after one more; parts are kept as the night orders them."""
    fitted = fit(one, around(known, one))
    assert errors(fitted) == []
    kept = [*known, *(replace(part, statement_id="") for part in fitted.parts)]
    return sorted(kept, key=lambda part: part.closing.date if part.closing else DAY)


def is_chained(known: list[Statement]) -> bool:
    balance_minor = HELD_MINOR
    for one in known:
        assert one.opening
        assert one.closing
        moved_minor = sum(each.amount_minor for each in one.entries)
        if one.opening.amount_minor != balance_minor:
            return False
        balance_minor += moved_minor
        assert one.closing.amount_minor == balance_minor
    return True


@given(st.booleans(), st.data())
def test_any_downloads_in_any_order_end_as_the_whole_month(
    serial: bool, data: st.DataObject
) -> None:
    """Gaps come and go on the way; nothing is booked twice and nothing is lost."""
    rows = data.draw(serials if serial else moves)
    downloads = data.draw(st.lists(spans, max_size=6))
    whole = slice_of(rows, 1, DAYS, serial)
    known: list[Statement] = []
    for first, last in (*downloads, (1, DAYS)):
        known = take(known, slice_of(rows, first, last, serial))
    key = {(one.entry_id, one.booking_date) for one in whole.entries}
    entries = [(one.entry_id, one.booking_date) for part in known for one in part.entries]
    assert sorted(entries) == sorted(key)
    assert is_chained(known)


@given(serials, st.lists(spans, min_size=1, max_size=5), st.data())
def test_downloads_that_cover_all_days_need_no_whole_month(
    rows: list[tuple[int, int]], downloads: list[list[int]], data: st.DataObject
) -> None:
    covering = [*downloads, *([day, day] for day in range(1, DAYS + 1))]
    known: list[Statement] = []
    for first, last in data.draw(st.permutations(covering)):
        known = take(known, slice_of(rows, first, last, True))
    assert sorted(one.entry_id for part in known for one in part.entries) == sorted(
        f"S{number}" for number in range(len(rows))
    )
    assert is_chained(known)
