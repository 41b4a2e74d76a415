"""Changes that keep a file's shape: an element, a tag, a line or a member of an archive at a time.

Bytes changed at random mostly break the outermost layer, which is refused at once. These reach
behind it. All chance comes from the generator given, so that the same seed makes the same file.
"""

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Final

from lxml import etree

from adapters.formats.xml import Element
from tests.fuzz.readers import Shape
from tests.fuzz.seeds import packed

Change = Callable[[bytes], bytes]
"""The fuzzer's own change of bytes, which knows what the code compared them with."""

_PIECES: Final = {
    "tags": re.compile(rb"<[^>]{0,200}>[^<]{0,4000}|[^<]+|<"),
    "lines": re.compile(rb"[^\r\n]{0,4000}(?:\r\n|\r|\n)|[^\r\n]+"),
}
_MOST_REPEATS: Final = 60
_RAW_ONE_IN: Final = 4
"""How often the bytes are changed after all, whatever they are."""
_UNPACKED_BYTES: Final = 1 << 20


def mutated(
    content: bytes, shape: Shape, words: Sequence[str], random: Random, change: Change
) -> bytes:
    """The file with one thing of its shape changed; with its bytes changed where it has none."""
    if random.randrange(_RAW_ONE_IN) == 0:
        return change(content)
    match shape:
        case "xml":
            return _element_changed(content, words, random, change)
        case "zip":
            return _member_changed(content, words, random, change)
        case _:
            return _piece_changed(content, _PIECES[shape], words, random, change)


def _piece_changed(
    content: bytes, pieces: re.Pattern[bytes], words: Sequence[str], random: Random, change: Change
) -> bytes:
    """One piece dropped, repeated, moved, cut in two by a word, or changed within."""
    held = pieces.findall(content) or [b"\n"]
    at, other = random.randrange(len(held)), random.randrange(len(held))
    match random.randrange(6):
        case 0:
            del held[at]
        case 1:
            held[at] *= random.choice((2, 3, _MOST_REPEATS))
        case 2:
            held[at], held[other] = held[other], held[at]
        case 3:
            held.insert(at, held[other])
        case 4:
            cut = random.randint(0, len(held[at]))
            held[at] = held[at][:cut] + random.choice(words).encode() + held[at][cut:]
        case _:
            held[at] = change(held[at])
    return b"".join(held)


def _element_changed(content: bytes, words: Sequence[str], random: Random, change: Change) -> bytes:
    """A well-formed file with another element or text in one place."""
    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return _piece_changed(content, _PIECES["tags"], words, random, change)
    elements = [one for one in root.iter() if isinstance(one.tag, str)]
    chosen, other = random.choice(elements), random.choice(elements)
    try:
        _edit(chosen, other, words, random, change)
    except ValueError:  # a text that XML cannot carry
        return change(content)
    encoding = root.getroottree().docinfo.encoding or "UTF-8"
    return etree.tostring(root, xml_declaration=True, encoding=encoding)


def _edit(
    chosen: Element,
    other: Element,
    words: Sequence[str],
    random: Random,
    change: Change,
) -> None:
    parent = chosen.getparent()
    kind = random.randrange(7)
    if kind == 0 and parent is not None:
        parent.remove(chosen)
    elif kind == 1 and parent is not None:
        parent.extend([deepcopy(chosen) for _ in range(random.choice((1, 2, _MOST_REPEATS)))])
    elif kind == 2:
        chosen.append(deepcopy(other))
    elif kind == 3:
        chosen.tag = other.tag
    elif kind == 4:
        chosen.text = random.choice(words)
    elif kind == 5 and chosen.attrib:
        chosen.set(random.choice(sorted(map(str, chosen.attrib))), random.choice(words))
    else:
        chosen.text = change((chosen.text or "").encode()).decode("utf-8", "ignore")


def _member_changed(content: bytes, words: Sequence[str], random: Random, change: Change) -> bytes:
    """The archive with one member changed, dropped or repeated, and everything else as it was."""
    members = _members(content)
    if not members:
        return change(content)
    name = random.choice(sorted(members))
    kind = random.randrange(10)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[f"{random.choice(words)}/{name}"] = members[name]
    else:
        members[name] = _element_changed(members[name], words, random, change)
    return packed(members)


def _members(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            whole = {info.filename: info for info in archive.infolist()}
            small = {n: i for n, i in whole.items() if i.file_size <= _UNPACKED_BYTES}
            return {name: archive.read(info) for name, info in small.items()}
    except Exception:  # noqa: BLE001 - whatever zipfile raises on a damaged archive
        return {}
