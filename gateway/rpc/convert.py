"""Between the contract's messages and the gateway's values: exact, or refused with the path."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import common_pb2

from gateway.domain.errors import Reason, invalid
from gateway.domain.party import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.field_mask_pb2 import FieldMask

_ID = "[a-z0-9][a-z0-9-]{0,62}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Enum(Protocol):
    """The wrapper that generated code puts around an enum."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor: ...  # noqa: N802 - protobuf's name


# --- money and time ---------------------------------------------------------------------------


def money(amount_minor: int, currency: str) -> common_pb2.Money:
    """Minor units and currency as the contract writes them."""
    return common_pb2.Money(amount_minor=amount_minor, currency=currency)


def minor_of(amount: common_pb2.Money, currency: str, path: str) -> int:
    """The minor units of an amount that must be in this currency.

    Raises:
        GatewayError: CURRENCY_MISMATCH.
    """
    if amount.currency != currency:
        raise invalid(Reason.CURRENCY_MISMATCH, f"{path}.currency", f"must be {currency}")
    return amount.amount_minor


def day(value: date | None) -> date_pb2.Date | None:
    """A calendar day; None leaves the field unset."""
    if value is None:
        return None
    return date_pb2.Date(year=value.year, month=value.month, day=value.day)


def day_of(value: date_pb2.Date, path: str) -> date:
    """The calendar day of a message that must name a whole one.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    try:
        return date(value.year, value.month, value.day)
    except (ValueError, OverflowError):
        raise invalid(Reason.FIELD_INVALID, path, "is not a day of the calendar") from None


def moment(value: datetime | None) -> Timestamp | None:
    """A moment; None leaves the field unset."""
    if value is None:
        return None
    # As `FromDatetime`, which goes by the calendar: a page has hundreds of moments.
    since = value - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def moment_of(value: Timestamp, path: str) -> datetime:
    """The moment of a message, UTC; below the microsecond nothing is kept.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(Reason.FIELD_INVALID, path, "is not a moment of the calendar") from None


# --- enums ------------------------------------------------------------------------------------


def enum_number(enum: _Enum, name: str) -> int:
    """The number of a value named without the enum's prefix: ``enum_number(Role, "OWNER")``."""
    return enum.DESCRIPTOR.values_by_name[_prefix(enum) + name].number


def enum_name(enum: _Enum, number: int) -> str:
    """The name of a value without the enum's prefix, ``UNSPECIFIED`` for 0.

    Raises:
        GatewayError: FIELD_INVALID for a number that the contract does not know.
    """
    value = enum.DESCRIPTOR.values_by_number.get(number)
    if value is None:
        raise invalid(Reason.FIELD_INVALID, enum.DESCRIPTOR.name, "has no such value")
    return value.name.removeprefix(_prefix(enum))


def role_number(role: Role) -> common_pb2.Role.ValueType:
    """A role as the contract writes it."""
    return common_pb2.Role.Value(f"ROLE_{role}")


def role_of(number: int) -> Role:
    """The role that the contract means."""
    return Role(enum_name(common_pb2.Role, number))


def roles_of(numbers: Iterable[int]) -> frozenset[Role]:
    """The roles that the contract means."""
    return frozenset(map(role_of, numbers))


def _prefix(enum: _Enum) -> str:
    """What the contract puts before every value, read off the one for 0."""
    return enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")


# --- names ------------------------------------------------------------------------------------


def split_name(name: str, pattern: str, path: str = "name") -> tuple[str, ...]:
    """The ids in a resource name: ``split_name("funds/f1/payments/p1", "funds/{}/payments/{}")``.

    Raises:
        GatewayError: FIELD_INVALID if the name is not of this pattern.
    """
    match = re.fullmatch(pattern.replace("{}", "([^/]+)"), name)
    if match is None:
        raise invalid(Reason.FIELD_INVALID, path, f"is not of the form {pattern}")
    return match.groups()


def masked_paths(mask: FieldMask, changeable: Iterable[str]) -> frozenset[str]:
    """What an update changes.

    Raises:
        GatewayError: FIELD_INVALID for no path, or one that cannot be changed.
    """
    unknown = sorted(set(mask.paths).difference(changeable))
    if unknown or not mask.paths:
        allowed = ", ".join(sorted(changeable))
        raise invalid(Reason.FIELD_INVALID, "update_mask", f"may name only, and one of: {allowed}")
    return frozenset(mask.paths)


def fund_id_of(name: str) -> str:
    """The fund in the name of a fund, or of anything that belongs to one.

    Raises:
        GatewayError: FIELD_INVALID if the name does not begin with a fund.
    """
    match = re.match(f"funds/({_ID})(?:/|$)", name)
    if match is None:
        raise invalid(Reason.FIELD_INVALID, "name", "does not begin with funds/{fund}")
    return match[1]
