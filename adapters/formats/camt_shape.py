"""Entries read by a known shape: a bank writes nearly all its entries with the same tags.

`learn` turns the text of one entry into a pattern that an entry matches only when it has exactly
the same tags in the same order and plain text between them. What matches is well-formed because
the learnt one was, so nothing of it need be given to the XML parser, and its texts are known by
their place. An entry of any other kind is for the parser.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeAlias

from adapters.formats.camt_record import (
    BATCH,
    BATCHES,
    CURRENCY,
    DETAIL,
    DETAILS,
    GROUP,
    OWN,
    REMITTANCE,
    Batch,
    Detail,
    Group,
    Own,
    Place,
    Record,
    T,
    Texts,
    element_paths,
)

MAX_SHAPE_CHARS: Final = 20_000
"""An entry longer than this, a lump with very many details, is never learnt from."""
_MAX_CAPTURES: Final = 500
_MAX_DEPTH: Final = 40

_NAME: Final = r"[A-Za-z][A-Za-z0-9]{0,60}"
_BLANK: Final = r"[ \t\r\n]*+"
# A carriage return and an entity stand for something else; the rest cannot stand in XML at all.
_NEVER: Final = r"<>&\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff"
_TEXT: Final = rf"[^\s{_NEVER}][^{_NEVER}]*+(?<!\s)"
_CODE: Final = "[A-Z]{3}"
_USTRD: Final = REMITTANCE.rpartition("/")[2]


_Groups: TypeAlias = tuple[str | None, ...]
"""The groups of a match. Two of them stand at the start of every pattern, for what is absent."""
_EMPTY, _NONE, _FIRST = 0, 1, 2
_CONSTANTS: Final = rf"()((?!))?{_BLANK}"


@dataclass(slots=True)
class _Section(Generic[T]):
    """One entry, batch or detail while it is learnt: in which group the text of a path is."""

    texts: Texts[T]
    groups: dict[str, int] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)

    def reader(self) -> "_Reader[T]":
        chosen = [self._chosen(paths) for paths in self.texts.paths]
        return _Reader(self.texts.make, itemgetter(*chosen))

    def _chosen(self, paths: tuple[str, ...]) -> int:
        for path in paths:
            if path[0] == "(":
                return _EMPTY if path[1:-1] in self.there else _NONE
            if path in self.groups:
                return self.groups[path]
        return _EMPTY


class _Reader(NamedTuple, Generic[T]):
    make: Callable[[_Groups], T]
    choose: Callable[[_Groups], _Groups]


@dataclass(slots=True)
class _GroupSections:
    batches: list[_Section[Batch]] = field(default_factory=list)
    details: list[_Section[Detail]] = field(default_factory=list)


class _GroupReader(NamedTuple):
    batches: tuple[_Reader[Batch], ...]
    details: tuple[_Reader[Detail], ...]

    def read(self, groups: _Groups) -> Group:
        batches = tuple([make(choose(groups)) for make, choose in self.batches])
        details = tuple([make(choose(groups)) for make, choose in self.details])
        for detail in details:
            if "<" in detail.remittance:
                return Group(batches, tuple([_joined(one) for one in details]))
        return Group(batches, details)


def _joined(detail: Detail) -> Detail:
    """With a remittance of several texts, matched as one with the tags between them, as text."""
    return detail._replace(remittance=" ".join(_BETWEEN.split(detail.remittance)))


_BETWEEN: Final = re.compile(r"<[^<]*<[^>]*>")


@dataclass(frozen=True, slots=True)
class Shape:
    """The pattern of one kind of entry and where in it the texts are."""

    match: Callable[[str, int], re.Match[str] | None]
    own: _Reader[Own]
    groups: tuple[_GroupReader, ...]

    def record(self, groups: _Groups, place: Place) -> Record:
        """The record of a matched entry from the groups of its match."""
        make, choose = self.own
        return Record(make(choose(groups)), tuple([one.read(groups) for one in self.groups]), place)


class _Tag(NamedTuple):
    """A start tag, an end tag, or both in one; with the plain text behind it."""

    closes: bool
    name: str
    currency: bool
    empty: bool
    text: str


class _IrregularError(Exception):
    """The entry has something that a shape cannot hold; it is for the parser."""


def learn(entry: str, prefix: str) -> Shape | None:
    """The shape of an entry's text, from `<Ntry>` to `</Ntry>`; None if it has none.

    Args:
        entry: Its text.
        prefix: The namespace prefix of all its tags; empty for none.
    """
    if len(entry) > MAX_SHAPE_CHARS:
        return None
    try:
        tags = list(_tags(entry, f"{prefix}:" if prefix else ""))
        return _Learner(f"{prefix}:" if prefix else "").learn(_once(tags))
    except _IrregularError:
        return None


def _tags(entry: str, prefix: str) -> Iterator[_Tag]:
    token = _token(prefix)
    at = 0
    while at < len(entry):
        found = token.match(entry, at)
        if found is None:
            raise _IrregularError
        closes, name, currency, empty, text = found.groups()
        yield _Tag(bool(closes), name, bool(currency), bool(empty), text.strip())
        at = found.end()


def _once(tags: list[_Tag]) -> list[_Tag]:
    """The tags without a remittance text that follows another directly: the pattern allows any."""
    kept: list[_Tag] = []
    for tag in tags:
        again = len(kept) > 1 and tag.name == _USTRD and kept[-1].name == kept[-2].name == _USTRD
        if again and not tag.closes and tag.text and kept[-2].text:
            kept.pop()  # the end tag before it; its own will take the place
        else:
            kept.append(tag)
    return kept


@lru_cache(maxsize=16)
def _token(prefix: str) -> re.Pattern[str]:
    return re.compile(
        rf'<(/?){re.escape(prefix)}({_NAME})( Ccy="{_CODE}")?(/?)>({_TEXT}|{_BLANK})(?=<|\Z)'
    )


class _Learner:
    """Walks the tags of one entry; builds its pattern and remembers the groups in it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = re.escape(prefix)
        self._own = _Section(OWN)
        self._groups: list[_GroupSections] = []
        self._section: _Section[Any] = self._own
        self._base = 1
        self._open: list[str] = []
        self._pattern = [_CONSTANTS]
        self._captures = _FIRST

    def learn(self, tags: list[_Tag]) -> Shape:
        for tag, following in zip(tags, [*tags[1:], None], strict=True):
            if tag.closes:
                self._end(tag)
            else:
                self._start(tag, leaf=following is not None and following.closes)
        if self._open:
            raise _IrregularError
        return self._shape()

    def _shape(self) -> Shape:
        groups = tuple(
            _GroupReader(
                tuple([one.reader() for one in group.batches]),
                tuple([one.reader() for one in group.details]),
            )
            for group in self._groups
        )
        return Shape(re.compile("".join(self._pattern)).match, self._own.reader(), groups)

    def _start(self, tag: _Tag, *, leaf: bool) -> None:
        if tag.text and (tag.empty or not leaf):
            raise _IrregularError
        self._enter(tag.name)
        path = self._path()
        self._pattern.append(f"<{self._prefix}{tag.name}")
        if tag.currency:
            self._pattern.append(f' Ccy="{self._capture(_CODE, path + CURRENCY, path)}"')
        self._pattern.append("/>" if tag.empty else ">")
        self._pattern.append(self._text(tag, path))
        if path:
            self._section.there.add(path)
        if tag.empty:
            self._leave()

    def _text(self, tag: _Tag, path: str) -> str:
        if not tag.text:
            if path == REMITTANCE:
                raise _IrregularError
            return _BLANK
        if path != REMITTANCE:
            return self._capture(_TEXT, path, path)
        again = f"</{self._prefix}{tag.name}>{_BLANK}<{self._prefix}{tag.name}>{_TEXT}"
        # Not `*+`: before Python 3.11.5 a possessive group may fail where it should match.
        return self._capture(f"{_TEXT}(?:{again})*", path, path)

    def _end(self, tag: _Tag) -> None:
        if tag.text or tag.currency or tag.empty or not self._open or self._open[-1] != tag.name:
            raise _IrregularError
        self._pattern.append(f"</{self._prefix}{tag.name}>")
        self._leave()
        if self._open:
            self._pattern.append(_BLANK)

    def _enter(self, name: str) -> None:
        self._open.append(name)
        way = self._open[1:]
        if len(self._open) > _MAX_DEPTH or self._captures > _MAX_CAPTURES:
            raise _IrregularError
        if way in ([BATCH], [DETAIL]):  # as the oldest version has it
            raise _IrregularError
        if way == [GROUP]:
            self._groups.append(_GroupSections())
        elif way == [GROUP, BATCH]:
            batch = _Section(BATCHES)
            self._groups[-1].batches.append(batch)
            self._section, self._base = batch, len(self._open)
        elif way == [GROUP, DETAIL]:
            detail = _Section(DETAILS)
            self._groups[-1].details.append(detail)
            self._section, self._base = detail, len(self._open)

    def _leave(self) -> None:
        if len(self._open) == self._base:
            self._section, self._base = self._own, 1
        self._open.pop()

    def _path(self) -> str:
        """Of the innermost element, if its text is to be kept; else empty.

        Of several elements at a path the first one counts, but remittance texts are joined: those
        that do not follow one another directly are for the parser.
        """
        path = "/".join(self._open[self._base :])
        if path not in element_paths(self._section.texts):
            return ""
        if path not in self._section.there:
            return path
        if path == REMITTANCE:
            raise _IrregularError
        return ""

    def _capture(self, pattern: str, key: str, path: str) -> str:
        if not path:
            return pattern
        self._section.groups[key] = self._captures
        self._captures += 1
        return f"({pattern})"
