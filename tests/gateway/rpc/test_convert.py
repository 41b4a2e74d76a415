"""Messages and values: there and back without loss, or refused with the field's path."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from hypothesis import given
from hypothesis import strategies as st
from xinyi.v1 import common_pb2, payment_service_pb2

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.domain.payment import State
from gateway.rpc import convert


def _reason_and_path(caught: pytest.ExceptionInfo[GatewayError]) -> tuple[Reason, str]:
    return caught.value.reason, caught.value.violations[0].field


@given(st.dates())
def test_day_comes_back(value: date) -> None:
    message = convert.day(value)
    assert message is not None
    assert convert.day_of(message, "d") == value


@given(st.datetimes(timezones=st.just(UTC)))
def test_moment_comes_back(value: datetime) -> None:
    message = convert.moment(value)
    assert message is not None
    assert convert.moment_of(message, "t") == value
    theirs = Timestamp()
    theirs.FromDatetime(value)
    assert message == theirs


def test_nothing_stays_unset() -> None:
    assert convert.day(None) is None
    assert convert.moment(None) is None


@pytest.mark.parametrize(
    ("year", "month", "day"), [(2026, 2, 30), (2026, 11, 0), (0, 1, 1), (-1, 1, 1)]
)
def test_day_that_is_none_is_refused_with_its_path(year: int, month: int, day: int) -> None:
    with pytest.raises(GatewayError) as caught:
        convert.day_of(date_pb2.Date(year=year, month=month, day=day), "run.date")
    assert _reason_and_path(caught) == (Reason.FIELD_INVALID, "run.date")


@pytest.mark.parametrize("stamp", [Timestamp(seconds=2**60), Timestamp(nanos=-1)])
def test_moment_beyond_the_calendar_is_refused_with_its_path(stamp: Timestamp) -> None:
    with pytest.raises(GatewayError) as caught:
        convert.moment_of(stamp, "key.start_time")
    assert _reason_and_path(caught) == (Reason.FIELD_INVALID, "key.start_time")


@given(st.integers(-(10**15), 10**15))
def test_money_comes_back_in_its_currency(amount_minor: int) -> None:
    assert convert.minor_of(convert.money(amount_minor, "CNY"), "CNY", "amount") == amount_minor


def test_money_of_another_currency_is_refused_with_its_path() -> None:
    with pytest.raises(GatewayError) as caught:
        convert.minor_of(convert.money(1, "USD"), "CNY", "payment.amount")
    assert _reason_and_path(caught) == (Reason.CURRENCY_MISMATCH, "payment.amount.currency")


@pytest.mark.parametrize("role", list(Role))
def test_role_comes_back(role: Role) -> None:
    assert convert.role_of(convert.role_number(role)) is role


def test_every_state_of_a_payment_has_its_number() -> None:
    enum = payment_service_pb2.PaymentState
    for state in State:
        assert convert.enum_name(enum, convert.enum_number(enum, state)) == state


def test_number_that_the_contract_does_not_know_is_refused() -> None:
    with pytest.raises(GatewayError):
        convert.enum_name(common_pb2.Book, 99)


def test_name_gives_its_ids() -> None:
    assert convert.split_name("funds/f-1/payments/p2", "funds/{}/payments/{}") == ("f-1", "p2")


@pytest.mark.parametrize("name", ["funds/f", "funds/f/payments/p/x", "funds//payments/p", "x"])
def test_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        convert.split_name(name, "funds/{}/payments/{}", "payment.name")
    assert _reason_and_path(caught) == (Reason.FIELD_INVALID, "payment.name")


@pytest.mark.parametrize("name", ["funds/f1", "funds/f1/payments/p", "funds/f1/lines/3"])
def test_fund_is_read_off_whatever_belongs_to_it(name: str) -> None:
    assert convert.fund_id_of(name) == "f1"


@pytest.mark.parametrize("name", ["", "funds/", "funds/F1", "estates/f1", "xfunds/f1"])
def test_name_without_a_fund_is_refused(name: str) -> None:
    with pytest.raises(GatewayError):
        convert.fund_id_of(name)


def test_mask_names_what_changes() -> None:
    assert convert.masked_paths(FieldMask(paths=["a"]), {"a", "b"}) == {"a"}


@pytest.mark.parametrize("paths", [[], ["c"], ["a", "c"], ["*"]])
def test_mask_of_nothing_or_of_what_cannot_change_is_refused(paths: list[str]) -> None:
    with pytest.raises(GatewayError) as caught:
        convert.masked_paths(FieldMask(paths=paths), {"a", "b"})
    assert _reason_and_path(caught) == (Reason.FIELD_INVALID, "update_mask")
