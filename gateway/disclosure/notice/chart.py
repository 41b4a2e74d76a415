"""Income and cost by kind as a picture, the same on page and paper.

Direction is never told by colour alone: income is filled, cost is hatched, and both are labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BARS: Final = 12

_WIDTH: Final = 640
_ROW: Final = 22
_LABEL: Final = 150
_FIGURE: Final = 110
_FONT: Final = "Noto Sans CJK SC, sans-serif"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: of the kind.
        amount_minor: its length, not negative.
        figure: the amount as it is written.
        income: whether it is income.
    """

    label: str
    amount_minor: int
    figure: str
    income: bool


def bars(bars: Sequence[Bar], title: str) -> str:
    """The chart as SVG; the bars in the order given, the longest as wide as there is room."""
    most = max((bar.amount_minor for bar in bars), default=0) or 1
    room = _WIDTH - _LABEL - _FIGURE
    rows = "".join(
        _row(number, bar, round(room * bar.amount_minor / most)) for number, bar in enumerate(bars)
    )
    height = _ROW * len(bars) + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' font-family="{_FONT}" font-size="12"><title>{escape(title)}</title>{_HATCH}{rows}</svg>'
    )


_HATCH: Final = (
    '<defs><pattern id="cost" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<rect width="6" height="6" fill="#fff"/><path d="M0 6L6 0" stroke="#444" stroke-width="1.4"/>'
    "</pattern></defs>"
)


def _row(number: int, bar: Bar, width: int) -> str:
    top = _ROW * number + 3
    fill = "#555" if bar.income else "url(#cost)"
    return (
        f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect x="{_LABEL}" y="{top}" width="{max(width, 1)}" height="{_ROW - 7}" fill="{fill}"'
        ' stroke="#444" stroke-width="0.8"/>'
        f'<text x="{_LABEL + width + 6}" y="{top + 12}">{escape(bar.figure)}</text>'
    )
