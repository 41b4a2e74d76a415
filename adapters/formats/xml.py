"""Reading and writing ISO 20022 XML: hostile input refused, namespaces of any version accepted."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO, Final, Literal, TypeAlias

from lxml import etree

from adapters.model import ParseError

Element: TypeAlias = etree._Element  # noqa: SLF001 - lxml has no public name for this type

PullParser: TypeAlias = "etree.XMLPullParser[Element]"

_DECLARED: Final = re.compile(rb"<\?xml[^>]{0,200}?encoding=[\"']([A-Za-z0-9._-]{1,40})[\"']")
_CHINESE: Final = frozenset({"gb2312", "gbk", "gb18030", "cp936"})
"""What banks declare for text that is GB18030 in truth: it contains the others."""
_UTF_8: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
_HEAD_BYTES: Final = 512
PROLOG_BYTES: Final = 1 << 20
"""Before this the root element begins: a longer DOCTYPE would fill the memory before it is seen."""
_MAX_MARKS: Final = 1 << 21
"""Signs of markup in one piece of tree. A node costs some thirty times the four bytes that make
it, so the size of a file is no bound on the memory that its tree takes."""


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what lxml says of a broken file into our own error.

    Raises:
        ParseError: `xml_malformed`, with the line.
    """
    try:
        yield
    except etree.XMLSyntaxError as broken:
        line = f"line {max(broken.lineno or 1, 1)}"
        raise ParseError("xml_malformed", broken.msg or "not XML", line) from broken


class Held:
    """Bounds the tree that is in memory at one time, by the signs of markup that made it."""

    def __init__(self) -> None:
        self._marks = 0

    def add(self, piece: bytes) -> None:
        """What the parser is about to be given.

        Raises:
            ParseError: `xml_too_large`.
        """
        self._marks += piece.count(b"<") + piece.count(b"=")
        if self._marks > _MAX_MARKS:
            raise ParseError("xml_too_large", "more tags and attributes than a bank file has")

    def forget(self) -> None:
        """What was read until now is freed."""
        self._marks = 0


def _encoding(source: BinaryIO) -> str | None:
    """The encoding to force, or None to believe the file."""
    return "gb18030" if _declared(source)[1] in _CHINESE else None


def codec(source: BinaryIO) -> str | None:
    """Python's name of the encoding of a file; None for one that only the parser knows."""
    head, declared = _declared(source)
    if declared in _CHINESE:
        return "gb18030"
    plain = b"\0" not in head and declared in _UTF_8
    return "utf-8" if plain else None


def _declared(source: BinaryIO) -> tuple[bytes, str]:
    """The file's beginning and the encoding it declares; the source is rewound."""
    head = source.read(_HEAD_BYTES)
    source.seek(0)
    declared = _DECLARED.search(head)
    return head, declared[1].decode("ascii").lower() if declared else ""


def pull_parser(tags: tuple[str, ...], encoding: str | None) -> PullParser:
    """A parser for finished elements of these qualified names, as strict as all others here."""
    return etree.XMLPullParser(
        events=("end",),
        tag=tags,
        encoding=encoding,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )


def _events(
    source: BinaryIO, event: Literal["start", "end"], tags: tuple[str, ...] | None
) -> Iterator[tuple[str, Element]]:
    # Comments are dropped so that no text is cut in two by one; entities stay unexpanded, depth
    # and node sizes keep libxml2's own bounds.
    return etree.iterparse(
        source,
        events=(event,),
        tag=tags,
        encoding=_encoding(source),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )


def root_of_document(source: BinaryIO) -> Element:
    """The root element as it starts; the source is rewound.

    Raises:
        ParseError: `xml_malformed`, or `doctype_refused`: a bank has no use for a DOCTYPE, and
            entities are the way to attack a reader.
    """
    with refusing():
        _, root = next(_events(BytesIO(source.read(PROLOG_BYTES)), "start", None))
    source.seek(0)
    if root.getroottree().docinfo.doctype:
        raise ParseError("doctype_refused", "a bank file carries no DOCTYPE", "line 1")
    return root


def namespace_of_document(source: BinaryIO) -> str:
    """The namespace of the root element; the source is rewound.

    Raises:
        ParseError: As `root_of_document`.
    """
    return namespace_of(root_of_document(source))


def elements(source: BinaryIO, *names: str) -> Iterator[Element]:
    """Finished elements of these names, in the file's order.

    Raises:
        ParseError: As `namespace_of_document` does, which is called first.
    """
    namespace = namespace_of_document(source)
    with refusing():
        for _, element in _events(source, "end", tuple(f"{{{namespace}}}{n}" for n in names)):
            yield element


def message(content: bytes, format_name: str, element_name: str) -> Element:
    """The one message of a small file, read to its very end so that a cut file is never used.

    Raises:
        ParseError: As `elements`; `xml_too_large`; or `format_unknown`: not one message of this
            format.
    """
    Held().add(content)
    source = BytesIO(content)
    named = namespace_of_document(source).rpartition(":")[2]
    found = list(elements(source, element_name))
    if len(found) != 1 or not named.startswith(format_name):
        raise ParseError("format_unknown", f"not one {format_name} message", "line 1")
    return found[0]


def release(element: Element) -> None:
    """Free an element that was read and all before it: only what is still open is left."""
    element.clear()
    while (parent := element.getparent()) is not None:
        while (before := element.getprevious()) is not None:
            parent.remove(before)
        element = parent


def namespace_of(element: Element) -> str:
    """The element's namespace; empty for none."""
    return _split(str(element.tag))[0]


def name_of(element: Element) -> str:
    """The element's name without its namespace."""
    return _split(str(element.tag))[1]


@lru_cache(maxsize=512)
def _split(tag: str) -> tuple[str, str]:
    """Namespace and name of lxml's `{namespace}name`; a file has few different tags."""
    namespace, _, name = tag.rpartition("}")
    return namespace[1:], name


@lru_cache(maxsize=512)
def _qualified(namespace: str, path: str) -> str:
    return "/".join(f"{{{namespace}}}{step}" for step in path.split("/"))


def first(element: Element, path: str) -> Element | None:
    """The first descendant at a path such as `Acct/Id/IBAN`, in the element's own namespace."""
    return element.find(_qualified(namespace_of(element), path))


def every(element: Element, path: str) -> list[Element]:
    """All descendants at a path, in order."""
    return element.findall(_qualified(namespace_of(element), path))


def text(element: Element, *paths: str) -> str:
    """The text at the first of the paths that has any, or the empty string."""
    for path in paths:
        found = first(element, path)
        if found is not None and found.text and (value := found.text.strip()):
            return value
    return ""


def line(element: Element) -> str:
    """Where an element stands, for a finding."""
    return f"line {element.sourceline or 1}"


def day(written: str) -> date | None:
    """The date of an ISO date or date-time as the bank wrote it, in the bank's own time."""
    return _date(written[:10])


@lru_cache(maxsize=512)
def _date(written: str) -> date | None:
    """Cached: a file names few dates, each very often."""
    try:
        return date.fromisoformat(written)
    except ValueError:
        return None


def instant(element: Element, path: str) -> datetime:
    """A date-time in UTC; without an offset it is taken as UTC.

    Raises:
        ParseError: `date_invalid`.
    """
    try:
        at = datetime.fromisoformat(text(element, path))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as wrong:
        raise ParseError("date_invalid", f"{path} is no date-time", line(element)) from wrong


def document(message: str) -> Element:
    """An empty message, for example of `camt.053.001.08`."""
    namespace = f"urn:iso:std:iso:20022:tech:xsd:{message}"
    return etree.Element(f"{{{namespace}}}Document", nsmap={None: namespace})


def put(parent: Element, path: str, value: str | None = None) -> Element:
    """Append a new chain of elements and set the innermost text; returns the innermost."""
    for step in path.split("/"):
        parent = etree.SubElement(parent, f"{{{namespace_of(parent)}}}{step}")
    if value is not None:
        parent.text = value
    return parent


def put_some(parent: Element, path: str, value: str) -> None:
    """As `put`, but nothing at all for an empty value: the schemas forbid empty elements."""
    if value:
        put(parent, path, value)


def written(root: Element, charset: str = "UTF-8") -> bytes:
    """The message as bytes; the same tree gives the same bytes."""
    return etree.tostring(root, xml_declaration=True, encoding=charset, pretty_print=True)


def moment(at: datetime) -> str:
    """A date-time as the messages write it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
