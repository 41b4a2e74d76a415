"""The entries of a camt file one after the other, most of them without a tree.

The text of the file goes to lxml, which alone decides what is XML and where an element stands.
But a run of entries of a known shape is cut out of that text and one empty `Ntry` put in its
place: when lxml comes to that element, the run's entries stand where it stands. Cutting is safe
only where every `<` begins a tag, so it ends for good at the first comment, CDATA section or
processing instruction.
"""

import codecs
import re
import secrets
from collections.abc import Iterator
from typing import BinaryIO, Final, TypeAlias

from adapters.formats import camt_record, camt_shape, xml
from adapters.formats.camt_record import Place, Record
from adapters.formats.camt_shape import Shape
from adapters.model import ParseError

HOLDERS: Final = ("Stmt", "Rpt", "Ntfctn")
ENTRY: Final = "Ntry"

_CHUNK_BYTES: Final = 1 << 17
_MAX_HELD_CHARS: Final = 1 << 20
"""An entry of more characters is given to the parser as it comes."""
_MAX_SHAPES: Final = 64
"""Learnt from one file; every entry after that which fits none is for the parser."""
_TRIED: Final = 8
"""The last shapes that fitted, tried on an entry."""
_RUN: Final = "run"
_DECLARATION: Final = re.compile(r"\ufeff?\s*<\?xml\s[^<>]{0,300}\?>")

Step: TypeAlias = tuple[xml.Element, Record | None]
"""The statement's element, and a record of it; None when the statement ends."""


_Run: TypeAlias = list[tuple[Shape, tuple[str | None, ...], Place]]
"""Consecutive entries that were cut out: the shape of each, its texts and its place."""


def steps(source: BinaryIO) -> Iterator[Step]:
    """The records of every statement, in the file's order, each statement ended by None.

    Raises:
        ParseError: `xml_malformed`, `doctype_refused`, `xml_too_large`: when the reading comes to
            it.
    """
    root = xml.root_of_document(source)
    namespace = xml.namespace_of(root)
    codec = xml.codec(source)
    tags = tuple(f"{{{namespace}}}{name}" for name in (ENTRY, *HOLDERS))
    parser = xml.pull_parser(tags, "utf-8" if codec else None)
    cutter = _Cutter(root.prefix or "")
    held = xml.Held()
    with xml.refusing():
        for piece in cutter.pieces(source, codec) if codec else _raw(source):
            held.add(piece)
            parser.feed(piece)
            yield from _steps(parser, cutter, held)
        parser.close()
        yield from _steps(parser, cutter, held)


def _raw(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(_CHUNK_BYTES):
        yield piece


def _steps(parser: xml.PullParser, cutter: "_Cutter", held: xml.Held) -> Iterator[Step]:
    for _, element in parser.read_events():
        entry = xml.name_of(element) == ENTRY
        run = cutter.taken(element) if entry else None
        holder = element.getparent() if entry else element
        if holder is None or not _is_holder(holder):
            continue
        if not entry:
            yield holder, None
        elif run is None:
            yield holder, camt_record.of_element(element)
        else:
            for shape, texts, place in run:
                yield holder, shape.record(texts, place)
        xml.release(element)
        held.forget()


def _is_holder(element: xml.Element) -> bool:
    """Whether it is a statement, and in its place: in a message that is in the document.

    Anywhere else it means nothing, and what stands beside it would never be freed.
    """
    message = element.getparent()
    document = None if message is None else message.getparent()
    in_place = document is not None and document.getparent() is None
    return in_place and xml.name_of(element) in HOLDERS


class _Cutter:
    """Cuts entries of a known shape out of a text."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._name = f"{prefix}:{ENTRY}" if prefix else ENTRY
        self._start, self._end = f"<{self._name}>", f"</{self._name}>"
        # Not to be guessed, so that no file can name a run of its own.
        self._secret = secrets.token_hex(8)
        self._runs: dict[str, _Run] = {}
        self._run_count = 0
        self._shapes: list[Shape] = []
        self._left_to_learn = _MAX_SHAPES
        self._line = 1
        self._cutting = True

    def taken(self, element: xml.Element) -> _Run | None:
        """The run for which an element stands; None for an element of the file's own."""
        return self._runs.pop(element.get(_RUN, ""), None)

    def pieces(self, source: BinaryIO, codec: str) -> Iterator[bytes]:
        """What to feed to the parser, in UTF-8."""
        held = ""
        for text, last in self._texts(source, codec):
            held += text
            self._cutting = self._cutting and _is_plain(held)
            parts: list[str] = []
            if self._cutting:
                held = held[self._cut(held, parts, last=last) :]
            else:
                self._pass(held, parts)
                held = ""
            yield "".join(parts).encode()

    def _texts(self, source: BinaryIO, codec: str) -> Iterator[tuple[str, bool]]:
        decoder = codecs.getincrementaldecoder(codec)()
        last = False
        while not last:
            content = source.read(_CHUNK_BYTES)
            last = not content
            try:
                yield decoder.decode(content, last), last
            except UnicodeDecodeError as wrong:
                message = f"what stands after this is not {codec}"
                raise ParseError("xml_malformed", message, f"line {self._line}") from wrong

    def _cut(self, text: str, parts: list[str], *, last: bool) -> int:
        """Put what the parser is to see into the parts; returns where what is to be held starts."""
        passed = at = 0
        while (start := text.find(self._start, at)) >= 0:
            run, at = self._run(text, start, self._line + text.count("\n", passed, start))
            if run:
                self._pass(text[passed:start], parts)
                parts.append(self._stand_in(run, text.count("\n", start, at)))
                self._line += text.count("\n", start, at)
                passed = at
            elif at < 0:
                break
        held = len(text) if last else self._held_from(text, start)
        self._pass(text[passed:held], parts)
        return held

    def _pass(self, text: str, parts: list[str]) -> None:
        parts.append(text)
        self._line += text.count("\n")

    def _held_from(self, text: str, entry_start: int) -> int:
        """From where the text waits for more: an entry not yet complete, or a tag."""
        if entry_start >= 0 and len(text) - entry_start < _MAX_HELD_CHARS:
            return entry_start
        tag_start = text.rfind("<")
        if tag_start < 0 or text.find(">", tag_start) >= 0:
            return len(text)
        if len(text) - tag_start < _MAX_HELD_CHARS:
            return tag_start
        self._cutting = False
        return len(text)

    def _run(self, text: str, at: int, line: int) -> tuple[_Run, int]:
        """The entries of known shape from here on, and where they end.

        With none: the end of the entry that stands here; -1 if the text does not hold it whole.
        """
        run: _Run = []
        first = at
        while fit := self._fit(text, at):
            shape, found = fit
            run.append((shape, found.groups(), Place(line, text, first, text.find("<", at))))
            at = found.end()
        if run:
            return run, at
        end = text.find(self._end, at)
        return run, -1 if end < 0 else end + len(self._end)

    def _stand_in(self, run: _Run, line_breaks: int) -> str:
        """An element in the run's place, and as many lines as it had: the parser counts them."""
        name = f"{self._secret}-{self._run_count}"
        self._run_count += 1
        self._runs[name] = run
        line_ends = "\n" * line_breaks
        return f'<{self._name} {_RUN}="{name}"/>{line_ends}'

    def _fit(self, text: str, at: int) -> tuple[Shape, re.Match[str]] | None:
        """The shape that an entry has, and its match: a shape known from before or a new one."""
        for place, shape in enumerate(self._shapes[:_TRIED]):
            if found := shape.match(text, at):
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                return shape, found
        new = self._learn(text, at)
        found = new.match(text, at) if new else None
        if new is None or found is None:
            return None
        self._shapes.insert(0, new)
        return new, found

    def _learn(self, text: str, at: int) -> Shape | None:
        start = text.find("<", at)
        if not self._left_to_learn or not text.startswith(self._start, start):
            return None
        end = text.find(self._end, start, start + camt_shape.MAX_SHAPE_CHARS)
        if end < 0:
            return None
        self._left_to_learn -= 1
        return camt_shape.learn(text[start : end + len(self._end)], self._prefix)


def _is_plain(text: str) -> bool:
    """Whether every `<` in the text begins a tag, but for the declaration at its start."""
    declared = _DECLARATION.match(text)
    start = declared.end() if declared else 0
    return text.find("<!", start) < 0 and text.find("<?", start) < 0
