"""Pictures of a voucher, as the gateway asks for them and another process answers.

Question and answer are a line of JSON and then bytes: of the file, or of the pictures.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIA_TYPE: Final = "image/jpeg"
"""Of every picture."""


class FaultError(Exception):
    """Why there will be no pictures.

    Attributes:
        region: index of the region at fault; None where it is the file.
    """

    def __init__(self, message: str, region: int | None = None) -> None:
        super().__init__(message)
        self.region = region


@dataclass(frozen=True, slots=True)
class Region:
    """What to black out: a part of a page, in thousandths of its width and height.

    Attributes:
        page: 1 for the first.
        x: from the left.
        y: from the top.
        width: to the right.
        height: down.
    """

    page: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """A voucher as everybody may see it.

    Attributes:
        pages: a JPEG each, in order.
        numbers_masked: numbers that were found in the text and blacked out.
    """

    pages: tuple[bytes, ...]
    numbers_masked: int


def ask(content: bytes, media_type: str, regions: Sequence[Region]) -> bytes:
    """What the process is sent."""
    facts = {"media_type": media_type, "regions": [astuple(each) for each in regions]}
    return json.dumps(facts).encode() + b"\n" + content


def asked(sent: bytes) -> tuple[bytes, str, list[Region]]:
    """Content, media type and regions, as the process was sent them."""
    head, _, content = sent.partition(b"\n")
    facts = json.loads(head)
    return content, facts["media_type"], [Region(*each) for each in facts["regions"]]


def told(outcome: Pictures | FaultError) -> bytes:
    """What the process answers."""
    if isinstance(outcome, FaultError):
        return json.dumps({"fault": str(outcome), "region": outcome.region}).encode()
    sizes = [len(page) for page in outcome.pages]
    facts = {"sizes": sizes, "numbers_masked": outcome.numbers_masked}
    return b"".join((json.dumps(facts).encode(), b"\n", *outcome.pages))


def answered(said: bytes) -> Pictures:
    """What the process said.

    Raises:
        FaultError: as it found.
    """
    head, _, content = said.partition(b"\n")
    facts = json.loads(head)
    if "fault" in facts:
        raise FaultError(facts["fault"], facts["region"])
    ends = list(accumulate(facts["sizes"]))
    pages = (content[start:end] for start, end in zip([0, *ends], ends, strict=False))
    return Pictures(tuple(pages), facts["numbers_masked"])
