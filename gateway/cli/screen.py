"""What people and programs read: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from gateway.domain.describe import Language

_PIPE_WIDTH: Final = 240
"""Columns of a table that no terminal bounds: enough that nothing has to be folded."""
_PROSE_WIDTH: Final = 14
"""Columns of the terminal that folded text is left with at least."""
_GAP_WIDTH: Final = 3
_YES: Final = frozenset({"y", "yes", "是"})

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or the label of a fact.

    Attributes:
        zh: heading in Chinese.
        en: heading in English.
        right: figures stand to the right.
        prose: may be folded where the terminal is narrow; names, days and amounts never are.
    """

    zh: str
    en: str
    right: bool = False
    prose: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """How one command answers.

    Attributes:
        lang: language of labels and prompts.
        as_json: machine JSON on stdout instead of tables.
    """

    lang: Language
    as_json: bool

    def pick(self, zh: str, en: str) -> str:
        """Whichever of the two the person reads."""
        return zh if self.lang == "zh" else en

    def say(self, zh: str, en: str) -> None:
        """One line on stderr: progress, never a result."""
        print_error(self.pick(zh, en))

    def agree(self, zh: str, en: str) -> bool:
        """Asks on stderr; anything but a plain yes, silence included, is a no."""
        # typer's own prompt would leave a space on stdout.
        sys.stderr.write(f"{self.pick(zh, en)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in _YES

    def list(self, answer: Message, columns: tuple[Column, ...], rows: Iterable[Row]) -> None:
        """A page of a list: the message as JSON, or its rows; says where more was left out."""
        if self.as_json:
            self.json(answer)
        else:
            self.table(columns, rows)
        if getattr(answer, "next_page_token", ""):
            self.say("还有更多，请加大 --limit", "there is more: raise --limit")

    def one(self, answer: Message, facts: Iterable[tuple[Column, str]]) -> None:
        """One thing: the message as JSON, or its facts."""
        if self.as_json:
            self.json(answer)
        else:
            self.facts((self.pick(label.zh, label.en), value) for label, value in facts)

    def json(self, answer: Message, indent: int | None = 2) -> None:
        """The message as JSON under the contract's field names; one line where indent is None."""
        write_json(
            MessageToJson(
                answer,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                ensure_ascii=False,
                indent=indent,
            )
        )

    def line(self, text: str) -> None:
        """One line of a result that comes little by little."""
        _console().print(Text(clean(text)), soft_wrap=True)

    def table(
        self, columns: tuple[Column, ...], rows: Iterable[Row], *, on_error: bool = False
    ) -> None:
        """Rows under their labels, on stderr where they belong to a prompt.

        Only prose is ever folded, and nothing is cut.
        """
        headings = tuple(self.pick(column.zh, column.en) for column in columns)
        cells = [headings, *(tuple(map(clean, row)) for row in rows)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column, heading in zip(columns, headings, strict=True):
            side: JustifyMethod = "right" if column.right else "left"
            table.add_column(Text(heading), justify=side, overflow="fold", no_wrap=not column.prose)
        for row in cells[1:]:
            table.add_row(*map(Text, row))
        _console(on_error=on_error, least_width=_narrowest(columns, cells)).print(table)

    def facts(self, facts: Iterable[tuple[str, str]], *, on_error: bool = False) -> None:
        """Label and text, one under the other; on stderr where they belong to a prompt."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in facts:
            grid.add_row(Text(clean(label)), Text(clean(value)))
        (_console(on_error=True) if on_error else _console()).print(grid)


def clean(text: str) -> str:
    """The text with everything that a terminal would obey, or not show, written as an escape."""
    return "".join(each if _shown(each) else ascii(each)[1:-1] for each in text)


def write_json(text: str) -> None:
    """JSON on stdout; what a terminal would obey is escaped, which changes no value."""
    sys.stdout.write("".join(_json_characters(text)) + "\n")
    sys.stdout.flush()


def write_data(value: Any) -> None:  # noqa: ANN401 - whatever json can write
    """A plain value as JSON on stdout."""
    write_json(json.dumps(value, ensure_ascii=False, indent=2))


def print_error(line: str) -> None:
    """One line on stderr."""
    _console(on_error=True).print(Text(clean(line)), soft_wrap=True)


def _narrowest(columns: tuple[Column, ...], cells: list[Row]) -> int:
    """The least width that leaves every name, day and amount whole."""
    widths = (
        _PROSE_WIDTH if column.prose else max(cell_len(row[index]) for row in cells)
        for index, column in enumerate(columns)
    )
    return sum(width + _GAP_WIDTH for width in widths)


def _json_characters(text: str) -> Iterator[str]:
    return (each if _shown(each) or each == "\n" else json.dumps(each)[1:-1] for each in text)


def _shown(character: str) -> bool:
    # The wide space is how Chinese input methods write one.
    return character.isprintable() or character == "\u3000"


def _console(*, on_error: bool = False, least_width: int = 0) -> Console:
    stream = sys.stderr if on_error else sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH)
    console.width = max(console.width, least_width)
    return console
