"""A small bank behind a real TLS door: it takes orders, moves money once, and answers in GBK.

It shares no line with the gateway's side of the channel, but for the camt.053 of its statements. A
test tells it how to treat the next message at its door, and how to decide.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from adapters.formats import camt053
from adapters.model import Balance, Entry, Statement
from gateway.clock import bank_date
from tests.gateway.support import ACCOUNT_NUMBERS, OPENING_MINOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.support import StillClock

ACCOUNT: Final = ACCOUNT_NUMBERS["wutong"]
RECEIVED: Final = "0"
ACCEPTED: Final = "1"
REFUSED: Final = "6"
PAID: Final = "7"
UNKNOWN_ORDER: Final = "B0303"
USED_REFERENCE: Final = "B0112"
_FINE: Final = "0"
_GONE: Final = (OSError, asyncio.IncompleteReadError)


class Door(StrEnum):
    """What becomes of one message and of its answer."""

    PLAIN = "plain"
    CUT = "cut"
    """Worked on; the answer breaks off in the middle."""
    LATE = "late"
    """Worked on; the answer never comes."""
    CLOSED = "closed"
    """The connection is closed before a byte of the message is read."""
    BUSY = "busy"
    """Nothing is done with it: the door answers 503."""
    FORBIDDEN = "forbidden"
    """Nothing is done with it: the door answers 403."""


@dataclass(slots=True)
class Instruction:
    """A payment that the bank has, once for each reference of the customer's."""

    reference: str
    order: str
    payee_name: str
    payee_account: str
    amount_minor: int
    purpose: str
    result: str


@dataclass(frozen=True, slots=True)
class Message:
    """What came in: its kind, its own number, the references in it, and when."""

    code: str
    number: str
    references: tuple[str, ...]
    at: datetime


@dataclass(slots=True)
class CityBank:
    """The bank.

    Attributes:
        clock: the gateway's; the bank's is the same.
        inbox: where it leaves its statements.
        decides: the status that a new instruction gets.
        doors: how to treat the next messages, one each; plain once it is empty.
        unknown_code: what it answers to a question about an order that it does not know.
        hides: whether it answers every question as if it had nothing.
        names_refusals: whether a reference used before is refused by its own row.
        received: every message that it has read, in order.
        instructions: what it has, by our reference.
        debits: how often money left for a reference.
        idle: other funds with an account here, in which nothing moves.
    """

    clock: StillClock
    inbox: Path
    decides: str = PAID
    doors: deque[Door] = field(default_factory=deque)
    unknown_code: str = UNKNOWN_ORDER
    hides: bool = False
    names_refusals: bool = False
    received: list[Message] = field(default_factory=list)
    instructions: dict[str, Instruction] = field(default_factory=dict)
    debits: Counter[str] = field(default_factory=Counter)
    idle: tuple[str, ...] = ("jinjiang",)
    _entries: list[Entry] = field(default_factory=list)
    _stated_minor: int = OPENING_MINOR
    _serial: int = 0

    # --- what a test asks of it -------------------------------------------------------------------

    @property
    def balance_minor(self) -> int:
        """What is in the account of the first fund."""
        return self._stated_minor + sum(entry.amount_minor for entry in self._entries)

    def orders(self, reference: str) -> list[str]:
        """The numbers of the orders that carried a payment to this bank."""
        return self._numbers("PAYENT", reference)

    def questions(self, reference: str) -> list[str]:
        """The numbers of the questions about a payment."""
        return self._numbers("QPAYENT", reference)

    def asked_at(self) -> list[datetime]:
        """When it was asked anything."""
        return [message.at for message in self.received if message.code == "QPAYENT"]

    def decide(self, reference: str, result: str) -> None:
        """Says of an instruction how it ends; the money goes with it."""
        self.instructions[reference].result = result
        if result == PAID:
            self._pay(self.instructions[reference])

    def debit(self, amount_minor: int, **said: Any) -> None:
        """Money leaves the account; the entry says of it what the test says, perhaps nothing."""
        self._book(-amount_minor, **said)

    def state(self, day: date, opening_minor: int | None = None) -> None:
        """Leaves the statements of a day in the gateway's folder: one an account.

        Args:
            day: The day to close; what was booked since the last statement stands on it.
            opening_minor: Another opening balance than the one that continues the last statement.
        """
        opening = self._stated_minor if opening_minor is None else opening_minor
        moved = sum(entry.amount_minor for entry in self._entries)
        self._leave(ACCOUNT, day, (opening, opening + moved), tuple(self._entries))
        for fund_id in self.idle:
            self._leave(ACCOUNT_NUMBERS[fund_id], day, (OPENING_MINOR, OPENING_MINOR), ())
        self._stated_minor = opening + moved
        self._entries.clear()

    # --- money ------------------------------------------------------------------------------------

    def _pay(self, paid: Instruction) -> None:
        if self.debits[paid.reference]:
            return
        self.debits[paid.reference] += 1
        self._book(
            -paid.amount_minor,
            end_to_end_id=paid.reference,
            counterparty_name=paid.payee_name,
            counterparty_account=paid.payee_account,
            text=paid.purpose,
        )

    def _book(self, amount_minor: int, **said: Any) -> None:
        self._serial += 1
        day = bank_date(self.clock())
        self._entries.append(Entry(f"S{self._serial:09d}", day, day, amount_minor, "CNY", **said))

    def _leave(
        self, account: str, day: date, balances: tuple[int, int], entries: tuple[Entry, ...]
    ) -> None:
        opening, closing = balances
        name = f"{day:%Y%m%d}-{account[-4:]}"
        statement = Statement(
            name, account, "CNY", Balance(day, opening), Balance(day, closing), entries
        )
        after = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
        self.inbox.mkdir(parents=True, exist_ok=True)
        (self.inbox / f"camt053-{name}.xml").write_bytes(camt053.render(statement, name, after))

    # --- messages ---------------------------------------------------------------------------------

    def _numbers(self, code: str, reference: str) -> list[str]:
        return [
            message.number
            for message in self.received
            if message.code == code and reference in message.references
        ]

    def answer(self, content: bytes) -> bytes:
        """Works on a message; the answer to it."""
        # expat reads no Chinese charset, so the declaration goes and the text is decoded here.
        root = ET.fromstring(content.decode("gbk").partition("?>")[2])  # noqa: S314 - the tests' own gateway wrote it
        code, number = (_text(root, f"eb/pub/{name}") for name in ("TransCode", "fSeqno"))
        rows = root.findall("eb/in/rd")
        references = tuple(_text(row, "iSeqno") for row in rows)
        is_used = any(message.number == number for message in self.received)
        self.received.append(Message(code, number, references, self.clock()))
        if is_used:
            return _reply(code, number, "B0001", "包序列号重复")
        if code == "PAYENT":
            return self._take(number, rows)
        return self._tell(number, _text(root, "eb/in/QryfSeqno"), references)

    def _take(self, number: str, rows: list[ET.Element]) -> bytes:
        """Either every payment of an order or none is taken; a reference is good for one."""
        used = [row for row in rows if _text(row, "iSeqno") in self.instructions]
        if used and self.names_refusals:
            refused = "".join(
                _row(_text(row, "iSeqno"), REFUSED, USED_REFERENCE, "流水号重复") for row in used
            )
            return _reply("PAYENT", number, _FINE, "", refused)
        if used:
            return _reply("PAYENT", number, USED_REFERENCE, "指令序号重复")
        taken = [self._instruction(number, row) for row in rows]
        for one in taken:
            self.instructions[one.reference] = one
            self.decide(one.reference, self.decides)
        told = "".join(_row(one.reference, one.result) for one in taken)
        return _reply("PAYENT", number, _FINE, "", told)

    def _instruction(self, number: str, row: ET.Element) -> Instruction:
        return Instruction(
            reference=_text(row, "iSeqno"),
            order=number,
            payee_name=_text(row, "RecAccNameCN"),
            payee_account=_text(row, "RecAccNo"),
            amount_minor=int(_text(row, "PayAmt")),
            purpose=_text(row, "UseCN"),
            result=RECEIVED,
        )

    def _tell(self, number: str, order: str, references: tuple[str, ...]) -> bytes:
        """By the order's number and the payment's, as such banks look."""
        known = [
            self.instructions[reference]
            for reference in references
            if reference in self.instructions and self.instructions[reference].order == order
        ]
        about = f"<QryfSeqno>{order}</QryfSeqno>"
        if self.hides or not known:
            return _reply("QPAYENT", number, self.unknown_code, "无此指令", about)
        rows = "".join(_row(one.reference, one.result) for one in known)
        return _reply("QPAYENT", number, _FINE, "", about + rows)

    # --- the door ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, keys: Path) -> AsyncIterator[int]:
        """The bank's door at a port of the loopback, for who has a certificate of the authority.

        Args:
            keys: The folder with `authority.pem`, `bank.pem` and `bank.key`.
        """
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(keys / "authority.pem")
        )
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(keys / "bank.pem", keys / "bank.key")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door = self.doors.popleft() if self.doors else Door.PLAIN
        try:
            if door is not Door.CLOSED:
                await self._exchange(door, reader, writer)
        except _GONE:
            pass  # the gateway gave up, as some tests want
        finally:
            writer.close()

    async def _exchange(
        self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if door in (Door.BUSY, Door.FORBIDDEN):
            code = 503 if door is Door.BUSY else 403
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code)
        else:
            body = self.answer(content)
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            if door is Door.LATE:
                await reader.read()  # until the gateway gives up
            elif door is Door.CUT:
                writer.write(whole[: -len(body) // 2])
            else:
                writer.write(whole)
        await writer.drain()


def _text(element: ET.Element, path: str) -> str:
    return element.findtext(path) or ""


def _row(reference: str, result: str, code: str = "", message: str = "") -> str:
    return (
        f"<rd><iSeqno>{reference}</iSeqno><QryiSeqno>{reference}</QryiSeqno>"
        f"<Result>{result}</Result><iRetCode>{code}</iRetCode><iRetMsg>{message}</iRetMsg></rd>"
    )


def _reply(code: str, number: str, result: str, message: str, out: str = "") -> bytes:
    text = (
        '<?xml version="1.0" encoding="GB2312"?>'
        f"<CMS><eb><pub><TransCode>{code}</TransCode><fSeqno>{number}</fSeqno>"
        f"<RetCode>{result}</RetCode><RetMsg>{escape(message)}</RetMsg></pub>"
        f"<out>{out}</out></eb></CMS>"
    )
    return text.encode("gbk")
