"""Valid requests for any method, built from the contract: names that its rules let in, by field.

A field of a new method that is not understood here gives a request that breaks the contract's
rules, which fails the test that asked for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import protovalidate
from buf.validate import validate_pb2
from google.api import resource_pb2  # type: ignore[import-untyped] # it ships no stubs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import common_pb2

from tests.gateway.support import NOW, TODAY, request_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN: Final = ("x", "CNY", "0" * 12, "0" * 64, "x" * 64, "zh", "0-0", "6222", "2026-11")
"""Texts that are no names, for fields with a rule of their own."""

_NUMBERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: "int32",
    FieldDescriptor.CPPTYPE_INT64: "int64",
}


@dataclass(frozen=True, slots=True)
class Builder:
    """Requests that name what it is given wherever the contract lets them.

    Attributes:
        names: resource names, of which each field gets the first that it lets in.
        given: values by the field's name, before everything else.
    """

    names: Sequence[str]
    given: Mapping[str, Any] = field(default_factory=dict)

    def messages(self, method: Any) -> list[Any]:
        """What to send to a method: one message, or the parts of a stream."""
        if not method.client_streaming:
            return [self._valid(self.message(method.input_type))]
        (parts,) = method.input_type.oneofs
        return [self._valid(self.message(method.input_type, part.name)) for part in parts.fields]

    def message(self, kind: Descriptor, part: str = "") -> Any:
        """A message with every field filled; of a oneof the part, or else its first."""
        built = GetMessageClass(kind)()
        for each in kind.fields:
            choice = each.containing_oneof
            if choice is None or each.name == (part or choice.fields[0].name):
                self._fill(built, each)
        return built

    def _fill(self, built: Any, each: FieldDescriptor) -> None:
        rules = each.GetOptions().Extensions[validate_pb2.field]
        if each.is_repeated:
            if rules.repeated.min_items or each.name in self.given or _names(rules):
                value = self._value(each, rules.repeated.items)
                if each.message_type is None:
                    getattr(built, each.name).append(value)
                else:
                    getattr(built, each.name).add().CopyFrom(value)
            return
        value = self._value(each, rules)
        if each.message_type is None:
            setattr(built, each.name, value)
        elif value is not None:
            getattr(built, each.name).CopyFrom(value)

    def _value(self, each: FieldDescriptor, rules: Any) -> Any:  # noqa: PLR0911 - one for each type
        if each.name in self.given:
            return self.given[each.name]
        if each.message_type is not None:
            return self._submessage(each.message_type)
        if each.enum_type is not None:
            return next(iter(getattr(rules.enum, "in")), 1)
        if each.cpp_type in _NUMBERS:
            bounds = getattr(rules, _NUMBERS[each.cpp_type])
            return 0 if each.name == "page_size" else max(1, bounds.gte)
        if each.type == FieldDescriptor.TYPE_BYTES:
            return b"x" * (rules.bytes.len or max(2, rules.bytes.min_len))
        if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return self._text(each, rules.string)
        return each.default_value

    def _text(self, each: FieldDescriptor, rules: Any) -> str:
        name = each.name
        if name == "request_id":
            return request_id()
        if name == "page_token":
            return ""
        if name == "name" and (form := _form(each.containing_type)):
            return next((text for text in self.names if re.fullmatch(form, text)), "x")
        for allowed in getattr(rules, "in"):
            return str(allowed)
        if rules.pattern:
            found = [text for text in (*self.names, *_PLAIN, "") if re.search(rules.pattern, text)]
            assert found, f"no text is known that {name} lets in: {rules.pattern}"
            return found[0]
        return "x" * max(1, int(rules.min_len))

    def _submessage(self, kind: Descriptor) -> Any:
        match kind.full_name:
            case "google.protobuf.Timestamp":
                stamp = Timestamp()
                stamp.FromDatetime(NOW)
                return stamp
            case "google.type.Date":
                return date_pb2.Date(year=TODAY.year, month=TODAY.month, day=TODAY.day)
            case "xinyi.v1.Money":
                return common_pb2.Money(amount_minor=1, currency="CNY")
            case "google.protobuf.FieldMask":
                return GetMessageClass(kind)(paths=["display_name"])
            case name if name.startswith("google."):
                return None
        return self.message(kind)

    def _valid(self, built: Any) -> Any:
        assert protovalidate.collect_violations(built) == [], built
        return built


def _form(kind: Descriptor | None) -> str:
    """What the names of a resource look like; empty for a message that is none."""
    if kind is None:
        return ""
    patterns = kind.GetOptions().Extensions[resource_pb2.resource].pattern
    return re.sub(r"{\w+}", "[^/]+", patterns[0]) if patterns else ""


def _names(rules: Any) -> bool:
    """Whether the items of a list are resource names, which a filter takes."""
    return "/" in rules.repeated.items.string.pattern
