"""Makes of a voucher pictures that hold no more than can be seen, with black over what is private.

Whoever made the file decides what is in it, so this runs as a process of its own that is given
little memory and time, and nothing of the gateway: no settings, no database, no file to write.

Every page is drawn anew as a JPEG. What lay under a box is not in it, nor is whatever lay behind,
beside or in the description of the page: text, attachments, earlier versions, metadata.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Final

import pypdfium2 as pdfium  # type: ignore[import-untyped] # it ships no stubs
import pypdfium2.raw as pdfium_c  # type: ignore[import-untyped] # as above
import typst
from PIL import Image, ImageDraw, ImageOps

from gateway.disclosure.notice.fonts import FONT, FontsError, cjk_fonts
from gateway.disclosure.pictures import FaultError, Pictures, Region, asked, told
from gateway.domain.free_text import numbers_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

DPI: Final = 150
"""Of a page of a PDF, unless it would be larger than `MOST_SIDE_PX`."""

MOST_SIDE_PX: Final = 2_400
"""The longer side of a picture; what is larger is made smaller."""

MOST_PAGES: Final = 20
MOST_PIXELS: Final = 50_000_000
"""Of a picture as it was uploaded."""

MOST_CHARACTERS: Final = 20_000
"""Of the text on one page."""

MOST_TEXT_BYTES: Final = 200_000
"""Of a voucher that is a text."""

MOST_BYTES: Final = 20 * 1024 * 1024
"""Of all pictures together."""

_QUALITY: Final = 85
_POINTS_AN_INCH: Final = 72
_BLEED_PX: Final = 2
"""How far black goes beyond the box of a number, whose letters may stick out of it."""

_MEMORY_BYTES: Final = 1 << 30
_CPU_S: Final = 20

Box = tuple[int, int, int, int]
"""Left and top in pixels, and right and bottom, which are not of it any more."""


def redact(content: bytes, media_type: str, regions: Sequence[Region]) -> Pictures:
    """The pages of a file as pictures, with black over the regions and over numbers in its text.

    Raises:
        FaultError: names page or region, as far as it is about one.
    """
    pages: list[bytes] = []
    numbers_masked = size = 0
    for count, picture, numbers in _SOURCES[media_type](content):
        _require_within(regions, count)
        own = [each for each in regions if each.page == len(pages) + 1]
        black_out(picture, [*numbers, *(box_of(each, picture.size) for each in own)])
        pages.append(_jpeg(picture))
        numbers_masked, size = numbers_masked + len(numbers), size + len(pages[-1])
        if size > MOST_BYTES:
            raise FaultError(f"its pictures come to more than {MOST_BYTES} bytes")
    return Pictures(tuple(pages), numbers_masked)


def black_out(picture: Image.Image, boxes: Iterable[Box]) -> None:
    """Blackens every pixel of the boxes."""
    pen = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        pen.rectangle((left, top, right - 1, bottom - 1), fill="black")


def _require_within(regions: Sequence[Region], count: int) -> None:
    for at, each in enumerate(regions):
        if each.page > count:
            raise FaultError(f"is on page {each.page} of {count}", at)


def box_of(region: Region, size: tuple[int, int]) -> Box:
    """Every pixel that the region touches, on a picture of this size."""
    across, down = size
    return (
        region.x * across // 1000,
        region.y * down // 1000,
        -(-(region.x + region.width) * across // 1000),
        -(-(region.y + region.height) * down // 1000),
    )


def _jpeg(picture: Image.Image) -> bytes:
    """The pixels and nothing else: Pillow would write a comment of the original's into it."""
    bare = Image.new("RGB", picture.size, "white")
    bare.paste(picture)
    out = BytesIO()
    bare.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


# --- a PDF --------------------------------------------------------------------------------------

_Page = tuple[int, Image.Image, "list[Box]"]
"""How many pages there are, one of them, and where numbers stand on it."""


def _pdf_pages(content: bytes) -> Iterator[_Page]:
    document = _opened(content)
    count = len(document)
    if not 0 < count <= MOST_PAGES:
        raise FaultError(f"it has {count:,} pages; 1 to {MOST_PAGES} can be shown")
    for at in range(count):
        yield count, *_drawn(document, at)


def _drawn(document: pdfium.PdfDocument, at: int) -> tuple[Image.Image, list[Box]]:
    """A page, and where numbers stand on it; nothing is drawn that is not searched."""
    try:
        page = _flat_page(document, at)
        drawn = page.render(
            scale=_scale(page, at), draw_annots=False, may_draw_forms=False, rev_byteorder=True
        )
        picture = drawn.to_pil().convert("RGB")
        return picture, list(_numbers(page, picture.size, at))
    except pdfium.PdfiumError:
        raise FaultError(f"page {at + 1} is broken") from None


def _opened(content: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(content)
        document.init_forms()
    except pdfium.PdfiumError as error:
        locked = error.err_code == pdfium_c.FPDF_ERR_PASSWORD
        raise FaultError("it is encrypted" if locked else "it is a broken PDF") from None
    return document


def _flat_page(document: pdfium.PdfDocument, at: int) -> pdfium.PdfPage:
    """The page with what stands in forms and notes made part of its text, so that it is found."""
    done = pdfium_c.FPDFPage_Flatten(document[at], pdfium_c.FLAT_NORMALDISPLAY)
    if done == pdfium_c.FLATTEN_FAIL:
        raise FaultError(f"page {at + 1} is broken")
    return document[at]


def _scale(page: pdfium.PdfPage, at: int) -> float:
    width, height = map(float, page.get_size())
    longer, shorter = max(width, height), min(width, height)
    if not 0 < shorter <= longer:
        raise FaultError(f"page {at + 1} has no size")
    # One pixel less, because pypdfium2 rounds up.
    return min(DPI / _POINTS_AN_INCH, (MOST_SIDE_PX - 1) / longer)


def _numbers(page: pdfium.PdfPage, size: tuple[int, int], at: int) -> Iterator[Box]:
    """Where numbers by which a private person is found stand on the picture of the page."""
    words = page.get_textpage()
    count = words.count_chars()
    if count > MOST_CHARACTERS:
        raise FaultError(f"page {at + 1} has more than {MOST_CHARACTERS:,} characters")
    text = "".join(chr(pdfium_c.FPDFText_GetUnicode(words, each)) for each in range(count))
    for found in sorted(set(_places(text))):
        boxes = [words.get_charbox(each, loose=True) for each in found]
        yield _around([_on_picture(page, size, each) for each in boxes])


def _places(text: str) -> Iterator[tuple[int, ...]]:
    """Indices of the characters of each number, also of those written one digit a cell."""
    cells = [at for at in range(len(text)) if not _is_gap(text, at)]
    for places in (range(len(text)), cells):
        shown = "".join(text[at] for at in places)
        for start, end in numbers_in(shown):
            yield tuple(at for at in places[start:end] if not text[at].isspace())


def _is_gap(text: str, at: int) -> bool:
    """Whether a space stands between two characters that stand alone."""
    return text[at].isspace() and _is_alone(text, at - 1) and _is_alone(text, at + 1)


def _is_alone(text: str, at: int) -> bool:
    around = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
    return 0 <= at < len(text) and not text[at].isspace() and not around.strip()


def _on_picture(page: pdfium.PdfPage, size: tuple[int, int], box: tuple[float, ...]) -> Box:
    """A box in the page's own units, however the page is turned, in pixels."""
    corners = [_pixel(page, size, x, y) for x in box[::2] for y in box[1::2]]
    across, down = zip(*corners, strict=True)
    return min(across), min(down), max(across), max(down)


def _pixel(page: pdfium.PdfPage, size: tuple[int, int], x: float, y: float) -> tuple[int, int]:
    across, down = pdfium_c.c_int(), pdfium_c.c_int()
    pdfium_c.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, across, down)
    return across.value, down.value


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return (
        min(left) - _BLEED_PX,
        min(top) - _BLEED_PX,
        max(right) + _BLEED_PX,
        max(bottom) + _BLEED_PX,
    )


# --- a text -------------------------------------------------------------------------------------

_SHEET: Final = b"""
#set page("a4", margin: 20mm)
#show raw: set text(font: sys.inputs.font, size: 10.5pt)
#raw(sys.inputs.text, block: true)
"""


def _text_pages(content: bytes) -> Iterator[_Page]:
    """A text as it would be printed, through a PDF, so that numbers are found in it as well."""
    if len(content) > MOST_TEXT_BYTES:
        raise FaultError(f"its text is longer than {MOST_TEXT_BYTES:,} bytes")
    try:
        said = {"text": content.decode("utf-8-sig"), "font": FONT}
        printed = typst.compile(
            _SHEET, font_paths=cjk_fonts(), ignore_system_fonts=True, sys_inputs=said
        )
    except UnicodeDecodeError:
        raise FaultError("it is no text in UTF-8") from None
    except FontsError as error:
        raise FaultError(f"to show its text: {error}") from None
    yield from _pdf_pages(printed)


# --- a picture ----------------------------------------------------------------------------------


def _one_picture(kind: str) -> Callable[[bytes], Iterator[_Page]]:
    def page(content: bytes) -> Iterator[_Page]:
        try:
            yield 1, _picture(content, kind), []
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise FaultError(f"it is a broken {kind}") from None

    return page


def _picture(content: bytes, kind: str) -> Image.Image:
    """As it is looked at: upright, on white, no larger than needed."""
    picture = Image.open(BytesIO(content), formats=(kind,))
    if picture.width * picture.height > MOST_PIXELS:
        raise FaultError(f"it has more than {MOST_PIXELS:,} pixels")
    picture.draft(None, (MOST_SIDE_PX, MOST_SIDE_PX))
    if not picture.has_transparency_data:
        shown = picture.convert("RGB")
    else:
        shown = Image.new("RGB", picture.size, "white")
        clear = picture.convert("RGBA")
        shown.paste(clear, mask=clear)
    shown.thumbnail((MOST_SIDE_PX, MOST_SIDE_PX))
    shown.getexif().update(picture.getexif())
    return ImageOps.exif_transpose(shown)


_SOURCES: Final[Mapping[str, Callable[[bytes], Iterator[_Page]]]] = {
    "application/pdf": _pdf_pages,
    "text/plain": _text_pages,
    "image/png": _one_picture("PNG"),
    "image/jpeg": _one_picture("JPEG"),
}


# --- the process --------------------------------------------------------------------------------


def main() -> int:
    """Answers what `gateway.disclosure.pictures` asks."""
    _confine()
    try:
        answer = told(redact(*asked(sys.stdin.buffer.read())))
    except FaultError as fault:
        answer = told(fault)
    sys.stdout.buffer.write(answer)
    return 0


def _confine() -> None:
    """Bounds what a file can cost; the process ends where it wants more."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


if __name__ == "__main__":
    sys.exit(main())
