"""Where the characters come from that are set: Noto CJK, wherever a distribution puts it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import typst

if TYPE_CHECKING:
    from collections.abc import Sequence

FONT: Final = "Noto Sans CJK SC"
FONT_DIRS: Final = (
    Path("/usr/share/fonts/opentype/noto"),
    Path("/usr/share/fonts/noto-cjk"),
    Path("/usr/share/fonts/google-noto-cjk"),
)
"""Where Debian, Arch and Fedora put Noto CJK."""


class FontsError(RuntimeError):
    """No folder has the font: every character would be an empty box."""


def cjk_fonts(directories: Sequence[Path] = FONT_DIRS) -> typst.Fonts:
    """The fonts of these folders, of which Noto CJK is one.

    Raises:
        FontsError: if none has it.
    """
    paths = [str(each) for each in directories if each.is_dir()]
    fonts = typst.Fonts(include_system_fonts=False, font_paths=paths)
    if FONT not in fonts.families():
        places = ", ".join(map(str, directories))
        raise FontsError(f"no {FONT} in {places}; Debian's package is fonts-noto-cjk")
    return fonts
