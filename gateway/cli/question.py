"""`xinyi question`: what owners ask about a line, and what they are answered."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Role
from xinyi.v1.question_service_pb2 import (
    AnswerQuestionRequest,
    AskQuestionHeader,
    AskQuestionRequest,
    GetQuestionPhotoRequest,
    GetQuestionRequest,
    ListQuestionsRequest,
    OpenCaseRequest,
    Question,
    QuestionState,
)

from gateway.cli.frame import EVERYONE, Complaint, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import Limit, OnlyFund, RequestId, announced, in_fund, one_of
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, last, moment, short
from gateway.client import CHUNK_BYTES, LONG_TIMEOUT_S, call, collect, receive, write_private
from gateway.domain.describe import Language
from gateway.questions.photo import MAX_BYTES

app = group("Questions about disclosed lines, and their answers 业主提问.")

_QUESTION = Column("提问", "Question")
_ASKER = Column("提问人", "Asked by")
_STATE = Column("状态", "State")
_DUE = Column("应答复日", "Due")
_LINE = Column("明细", "Line")
_CASE = Column("差异", "Case")
_COLUMNS = (
    _QUESTION,
    _LINE,
    _STATE,
    _DUE,
    _ASKER,
    Column("问题", "Asked", prose=True),
    Column("答复", "Answer", prose=True),
)
_ANSWERS = (
    Column("时间（北京）", "Time (Beijing)"),
    Column("答复人", "Answered by", prose=True),
    Column("答复", "Answer", prose=True),
)

_Line = Annotated[
    str,
    typer.Argument(parser=in_fund("lines"), metavar="LINE", help="FUND/NUMBER, as in wutong/12."),
]
_Name = Annotated[
    str,
    typer.Argument(
        parser=in_fund("questions"), metavar="QUESTION", help="As `question list` shows it."
    ),
]
_Text = Annotated[
    str,
    typer.Option(
        "--text", metavar="TEXT", help="All of the estate reads it: name no private person."
    ),
]


@remote(app, "ask", EVERYONE)
async def _ask(
    session: Session,
    line: _Line,
    text: _Text,
    photo: Annotated[
        Path | None,
        typer.Option(
            "--photo",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A JPEG, PNG or WebP; where and when it was taken is left out.",
        ),
    ] = None,
    request_id: RequestId = None,
) -> None:
    """Ask about a line, under a pseudonym; all of the estate reads question and answer."""
    content = b"" if photo is None else _content(photo)
    named = announced(session.screen, request_id)
    header = AskQuestionHeader(parent=line, text=text, request_id=named)
    chunks = (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))
    parts = [
        AskQuestionRequest(header=header),
        *(AskQuestionRequest(content=chunk) for chunk in chunks),
    ]
    answer = await call(session.stubs.questions.AskQuestion, parts, LONG_TIMEOUT_S)
    session.screen.one(answer, _facts(answer.question, session.screen.lang))


@remote(app, "answer", EVERYONE)
async def _answer(session: Session, name: _Name, text: _Text, request_id: RequestId = None) -> None:
    """Answer a question, or add to its answer; what was said stays."""
    named = announced(session.screen, request_id)
    request = AnswerQuestionRequest(name=name, text=text, request_id=named)
    answer = await call(session.stubs.questions.AnswerQuestion, request)
    session.screen.one(answer, _facts(answer.question, session.screen.lang))


@remote(app, "list", EVERYONE)
async def _list(
    session: Session,
    *,
    fund: OnlyFund = None,
    line: Annotated[
        str | None,
        typer.Option(
            "--line", parser=in_fund("lines"), metavar="LINE", help="Only about this line."
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            parser=one_of(QuestionState), metavar="STATE", help="OPEN, OVERDUE or ANSWERED."
        ),
    ] = None,
    limit: Limit = 500,
) -> None:
    """List questions with their first answers, newest first."""
    request = ListQuestionsRequest(
        parent=fund or "funds/-",
        line=line or "",
        state=QuestionState.Value(state or "QUESTION_STATE_UNSPECIFIED"),
    )
    answer = await collect(session.stubs.questions.ListQuestions, request, limit)
    lang = session.screen.lang
    session.screen.list(answer, _COLUMNS, (_row(each, lang) for each in answer.questions))


@remote(app, "show", EVERYONE)
async def _show(session: Session, name: _Name) -> None:
    """Show a question with all its answers."""
    answer = await call(session.stubs.questions.GetQuestion, GetQuestionRequest(name=name))
    session.screen.one(answer, _facts(answer.question, session.screen.lang))
    if not session.screen.as_json:
        show_answers([answer.question], session)


@remote(app, "photo", EVERYONE)
async def _photo(
    session: Session,
    name: _Name,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
) -> None:
    """Fetch the photo of a question and write it to a file."""
    content = bytearray()
    request = GetQuestionPhotoRequest(name=name)
    async for part in receive(session.stubs.questions.GetQuestionPhoto, request, LONG_TIMEOUT_S):
        content += part.content
        if len(content) > MAX_BYTES:
            raise Complaint("the photo is too large", "照片过大")
    write_private(out, bytes(content))
    session.screen.say(f"已写入 {out}", f"written to {out}")


@remote(app, "open-case", EVERYONE)
async def _open_case(session: Session, name: _Name, request_id: RequestId = None) -> None:
    """Have the line looked at: open a reconciliation case about it, or join the open one."""
    named = announced(session.screen, request_id)
    request = OpenCaseRequest(name=name, request_id=named)
    answer = await call(session.stubs.questions.OpenCase, request)
    session.screen.one(answer, _facts(answer.question, session.screen.lang))


def show_answers(questions: Iterable[Question], session: Session) -> None:
    """What was answered to questions, in order."""
    session.screen.table(_ANSWERS, _answers(questions, session.screen.lang))


def _answers(questions: Iterable[Question], lang: Language) -> Iterator[Row]:
    for question in questions:
        for each in question.answers:
            by = f"{each.party_name} · {label(Role, each.role, lang)}"
            yield moment(each.create_time), by, each.text


def _row(question: Question, lang: Language) -> Row:
    return (
        short(question.name),
        last(question.line),
        label(QuestionState, question.state, lang),
        day(question.due_date),
        asker(question, lang),
        question.text,
        question.answers[0].text if question.answers else "",
    )


def asker(question: Question, lang: Language) -> str:
    """``业主-7F3A21``: who asks, by role and pseudonym."""
    return f"{label(Role, question.asker_role, lang)}-{question.asker_alias}"


def _facts(question: Question, lang: Language) -> Iterator[tuple[Column, str]]:
    yield _QUESTION, short(question.name)
    yield _LINE, short(question.line)
    yield _ASKER, asker(question, lang)
    yield Column("提问时间（北京）", "Asked (Beijing)"), moment(question.create_time)
    yield Column("问题", "Asked"), question.text
    yield Column("照片", "Photo"), question.photo_media_type
    yield _STATE, label(QuestionState, question.state, lang)
    yield _DUE, day(question.due_date)
    yield Column("首次答复（北京）", "First answered (Beijing)"), moment(question.answer_time)
    yield Column("逾期记录（北京）", "Recorded as late (Beijing)"), moment(question.overdue_time)
    yield _CASE, short(question.case)


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if not 0 < len(content) <= MAX_BYTES:
        raise Complaint(f"{file.name} is empty or above 5 MiB", "照片为空或超过 5 MiB")
    return content
