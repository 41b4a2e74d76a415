"""What is drawn of a voucher: nothing of what is black, beside it, or behind it."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pypdfium2 as pdfium  # type: ignore[import-untyped] # it ships no stubs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from gateway.disclosure.notice.fonts import FONT_DIRS, cjk_fonts
from gateway.disclosure.pictures import FaultError, Pictures, Region, answered, ask
from gateway.disclosure.redacting import (
    MOST_SIDE_PX,
    black_out,
    box_of,
    redact,
)
from tests.gateway.disclosure.papers import (
    IDENTITY,
    NAME,
    PHONE,
    SECRETS,
    SIZE_PT,
    boundless_png,
    encrypted,
    pdf,
    photo,
    stream,
    whole,
)

PDF = "application/pdf"
FONTS = pytest.mark.skipif(
    not any(each.is_dir() for each in FONT_DIRS), reason="Noto CJK is not installed"
)
BLACK, WHITE = 40, 215
"""A JPEG is not exact: at most this, and at least this."""


def _picture(made: Pictures, page: int = 1) -> Image.Image:
    return Image.open(BytesIO(made.pages[page - 1]))


def _ink(picture: Image.Image, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """The darkest and the lightest pixel of a part of the picture, which is in thousandths."""
    across, down = picture.width / 1000, picture.height / 1000
    left, top, right, bottom = box
    part = picture.crop(
        (int(left * across), int(top * down), int(right * across), int(bottom * down))
    )
    return _extremes(part)


def _extremes(picture: Image.Image) -> tuple[float, float]:
    darkest, lightest = picture.convert("L").getextrema()
    assert isinstance(darkest, int | float)
    assert isinstance(lightest, int | float)
    return darkest, lightest


def test_nothing_of_what_is_masked_is_in_the_file_in_any_form() -> None:
    content = pdf((50, 700, f"{NAME} tel {PHONE}"), (50, 600, IDENTITY), info=" ".join(SECRETS))
    for text in SECRETS:
        assert text.encode() in content

    made = redact(content, PDF, [Region(1, 60, 140, 300, 40)])

    (page,) = made.pages
    for text in SECRETS:
        for written in (text.encode(), text.encode("utf-16-be"), text.encode("utf-16-le")):
            assert written not in page
    assert _ink(_picture(made), (62, 142, 358, 178))[1] <= BLACK
    assert _picture(made).getexif() == {}
    assert set(_picture(made).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert made.numbers_masked == 2


def test_a_number_in_the_text_is_blacked_out_unasked_and_the_words_beside_it_stay() -> None:
    made = redact(pdf((50, 700, f"tel {PHONE} and more")), PDF, [])
    picture = _picture(made)
    # Helvetica of 12 points: `tel ` is 16 points wide, eleven digits are 73, and 8 high.
    top, bottom = 1000 * (842 - 708) // 842, 1000 * (842 - 700) // 842
    left, right = 1000 * 66 // 595, 1000 * 139 // 595
    assert _ink(picture, (left + 1, top + 1, right, bottom - 1))[1] <= BLACK
    darkest, lightest = _ink(picture, (right + 12, top, 1000 * 200 // 595, bottom))
    assert darkest < 128 < lightest


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_number_is_found_however_the_page_is_turned_and_cut(turned: int) -> None:
    page = b"/MediaBox[0 0 600 400]/CropBox[100 50 600 400]/Rotate %d" % turned
    shown = _picture(redact(pdf((200, 200, PHONE), page=page), PDF, [])).convert("L")
    bare = _picture(redact(pdf(page=page), PDF, [])).convert("L")
    changed = ImageChops.difference(shown, bare).point(lambda value: 255 * (value > 60)).getbbox()
    assert changed is not None
    # All that the number left is one black bar.
    assert _extremes(shown.crop(changed))[1] <= BLACK + 60


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([(50, 700, "138 0013 8000")], 1),
        ([(50, 700, "1 3 8 0 0 1 3 8 0 0 0")], 1),
        ([(50 + 30 * at, 700, digit) for at, digit in enumerate(PHONE)], 1),
        ([(50 + 30 * at, 700, digit) for at, digit in enumerate(IDENTITY)], 1),
        ([(50, 700, "invoice 24512000000012345678 of 2026-11-20: 1,280.00")], 0),
        ([(50, 700, "6222 0212 3456 7890 128"), (50, 650, "o.xm@example.com")], 2),
        ([(50, 700, "13 1,280.00 1,400.00 1")], 0),
    ],
)
def test_numbers_are_told_from_amounts(lines: list[tuple[int, int, str]], found: int) -> None:
    assert redact(pdf(*lines), PDF, []).numbers_masked == found


@pytest.mark.parametrize(("text", "found"), [(PHONE, 1), ("SEALED", 0)])
def test_what_stands_in_a_note_on_the_page_is_drawn_and_searched(text: str, found: int) -> None:
    font = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    content = whole(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[4 0 R]/Count 1>>",
        b"<<>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]/Annots[5 0 R]>>",
        b"<</Type/Annot/Subtype/FreeText/Rect[100 200 250 220]/F 4/AP<</N 6 0 R>>>>",
        stream(
            b"/Type/XObject/Subtype/Form/BBox[0 0 150 20]" + font,
            f"BT /F 12 Tf 5 5 Td ({text}) Tj ET".encode(),
        ),
    )
    made = redact(content, PDF, [])
    assert made.numbers_masked == found
    assert _ink(_picture(made), (250, 266, 625, 333))[0] <= BLACK
    assert _ink(_picture(made), (0, 0, 1000, 250))[0] >= WHITE


@FONTS
def test_a_text_is_shown_as_it_would_be_printed_and_its_numbers_are_masked() -> None:
    text = f"收据 #set page()\n联系人电话 {PHONE}\n{IDENTITY}\n"
    made = redact(text.encode(), "text/plain", [])
    assert (len(made.pages), made.numbers_masked) == (1, 2)
    long = redact((text * 60).encode(), "text/plain", [])
    assert len(long.pages) > 1


def test_a_text_without_its_font_is_refused_rather_than_shown_as_boxes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cjk_fonts, "__defaults__", ((),))
    with pytest.raises(FaultError, match="fonts-noto-cjk"):
        redact("收据".encode(), "text/plain", [])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_loses_all_that_is_not_to_be_seen(kind: str) -> None:
    content = photo(kind)
    assert NAME.encode() in content
    made = redact(content, f"image/{kind.lower()}", [Region(1, 0, 0, 500, 500)])
    assert not any(text.encode() in made.pages[0] for text in SECRETS)
    assert _ink(_picture(made), (10, 10, 480, 480))[1] <= BLACK
    assert _ink(_picture(made), (520, 520, 1000, 1000))[0] >= WHITE


def test_a_region_is_of_the_upright_picture() -> None:
    turned_right = photo(turned=6)
    made = redact(turned_right, "image/jpeg", [])
    picture = _picture(made).convert("RGB")
    assert picture.size == (200, 400)
    assert picture.getpixel((150, 100))[1] < 60  # type: ignore[index] # of RGB
    made = redact(turned_right, "image/jpeg", [Region(1, 500, 0, 500, 500)])
    assert _extremes(_picture(made))[0] <= BLACK
    assert _ink(_picture(made), (520, 20, 1000, 480))[1] <= BLACK


def test_what_is_clear_in_a_picture_is_white() -> None:
    out = BytesIO()
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(out, "PNG")
    made = redact(out.getvalue(), "image/png", [])
    assert _extremes(_picture(made))[0] >= WHITE


def test_a_large_picture_is_made_smaller_and_each_page_is_one() -> None:
    large = _picture(redact(photo(size=(6000, 3000)), "image/jpeg", []))
    assert large.size == (MOST_SIDE_PX, MOST_SIDE_PX // 2)
    made = redact(pdf((50, 700, "text"), pages=3), PDF, [Region(2, 0, 0, 1000, 1000)])
    assert [_ink(_picture(made, page), (0, 0, 1000, 1000))[1] > 200 for page in (1, 2, 3)] == [
        *(True, False, True)
    ]
    assert _picture(made).size == (1240, 1755)
    poster = pdf(page=b"/MediaBox[0 0 14000 7000]")
    assert max(_picture(redact(poster, PDF, [])).size) <= MOST_SIDE_PX


CROWDED = pdf(*((1 + 7 * at, y, "x") for y in range(1, 840, 2) for at in range(80)))
FAULTY = (
    (pdf(pages=1000), PDF, "1,000 pages"),
    (encrypted(), PDF, "encrypted"),
    (b"%PDF-1.7 a voucher", PDF, "broken PDF"),
    (photo(), PDF, "broken PDF"),
    (b"", PDF, "broken PDF"),
    (CROWDED, PDF, "page 1 has more than 20,000 characters"),
    (boundless_png(), "image/png", "broken PNG"),
    (photo("PNG"), "image/jpeg", "broken JPEG"),
    (photo()[:900], "image/jpeg", "broken JPEG"),
    (photo("PNG", size=(8000, 8000)), "image/png", "50,000,000 pixels"),
    ("收据".encode("gb18030"), "text/plain", "no text in UTF-8"),
    (bytes(200_001), "text/plain", "longer than 200,000 bytes"),
)
"""A file, what it says it is, and what is said of it."""


@pytest.mark.parametrize(("content", "media_type", "said"), FAULTY, ids=[f[2] for f in FAULTY])
def test_a_file_of_which_no_picture_can_be_made_is_told_why(
    content: bytes, media_type: str, said: str
) -> None:
    with pytest.raises(FaultError, match=said):
        redact(content, media_type, [])


def test_a_region_on_no_page_is_named() -> None:
    with pytest.raises(FaultError, match="is on page 2 of 1") as fault:
        redact(pdf(), PDF, [Region(1, 0, 0, 1, 1), Region(2, 0, 0, 1, 1)])
    assert fault.value.region == 1


@given(
    st.tuples(*(st.integers(0, 499), st.integers(1, 500)) * 2),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_every_pixel_that_a_region_touches_is_black_and_no_other_changes(
    corner: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    left, width, top, height = corner
    right, bottom = left + width, top + height
    picture = Image.new("L", size, "white")
    black_out(picture, [box_of(Region(1, left, top, width, height), size)])
    expected = bytes(
        0
        if left * size[0] < 1000 * (x + 1)
        and 1000 * x < right * size[0]
        and top * size[1] < 1000 * (y + 1)
        and 1000 * y < bottom * size[1]
        else 255
        for y in range(size[1])
        for x in range(size[0])
    )
    assert picture.tobytes() == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*(st.integers(0, 490), st.integers(10, 500)) * 2), max_size=5))
def test_each_region_is_black_in_the_file_that_is_handed_out(
    given_: list[tuple[int, int, int, int]],
) -> None:
    regions = [Region(1, x, y, width, height) for x, width, y, height in given_]
    made = redact(pdf((50, 700, NAME)), PDF, regions)
    for each in regions:
        box = (each.x + 4, each.y + 4, each.x + each.width - 4, each.y + each.height - 4)
        if box[0] < box[2] and box[1] < box[3]:
            assert _ink(_picture(made), box)[1] <= BLACK


def test_the_process_answers_as_the_function_does_and_is_given_nothing_else() -> None:
    content, regions = pdf((50, 700, PHONE)), [Region(1, 10, 20, 30, 40)]
    command = (sys.executable, "-I", "-m", "gateway.disclosure.redacting")
    said = subprocess.run(  # noqa: S603 - ourselves
        command, input=ask(content, PDF, regions), capture_output=True, check=True, env={}
    )
    assert answered(said.stdout) == redact(content, PDF, regions)
    assert said.stderr == b""


def test_an_original_can_be_read_as_what_it_is_made_to_be() -> None:
    """Were the hand-made PDF none, the tests above would find nothing in it for no good reason."""
    page = pdfium.PdfDocument(pdf((50, 700, f"{NAME} {PHONE}")))[0]
    assert page.get_textpage().get_text_range() == f"{NAME} {PHONE}"
    assert page.get_size() == SIZE_PT
