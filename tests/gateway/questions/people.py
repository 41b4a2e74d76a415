"""Short ways to ask and answer at the running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xinyi.v1 import question_service_pb2 as pb

from tests.gateway.support import FIRM, OWNER, SUPERVISOR, Callers, Who, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK_BYTES = 1 << 20


def asking(line: str, text: str, photo: bytes = b"", call_id: str = "") -> list[Any]:
    """The messages of a question."""
    header = pb.AskQuestionHeader(parent=line, text=text, request_id=call_id or request_id())
    chunks = (photo[at : at + _CHUNK_BYTES] for at in range(0, len(photo), _CHUNK_BYTES))
    return [
        pb.AskQuestionRequest(header=header),
        *(pb.AskQuestionRequest(content=chunk) for chunk in chunks),
    ]


async def ask(
    callers: Callers, line: str, text: str = "这笔支出是什么？", who: Who = OWNER, **more: Any
) -> pb.Question:
    service = (await callers.as_(who)).questions
    question: pb.Question = (await service.AskQuestion(iter(asking(line, text, **more)))).question
    return question


async def answer(
    callers: Callers, question: pb.Question, text: str = "清运费", who: Who = FIRM
) -> pb.Question:
    request = pb.AnswerQuestionRequest(name=question.name, text=text, request_id=request_id())
    answered: pb.Question = (
        await (await callers.as_(who)).questions.AnswerQuestion(request)
    ).question
    return answered


async def listed(callers: Callers, who: Who = OWNER, **fields: Any) -> Sequence[pb.Question]:
    fields.setdefault("parent", "funds/wutong")
    service = (await callers.as_(who)).questions
    return list((await service.ListQuestions(pb.ListQuestionsRequest(**fields))).questions)


async def shown(callers: Callers, name: str, who: Who = OWNER) -> pb.Question:
    request = pb.GetQuestionRequest(name=name)
    question: pb.Question = (await (await callers.as_(who)).questions.GetQuestion(request)).question
    return question


async def open_case(callers: Callers, question: pb.Question, who: Who = SUPERVISOR) -> pb.Question:
    request = pb.OpenCaseRequest(name=question.name, request_id=request_id())
    opened: pb.Question = (await (await callers.as_(who)).questions.OpenCase(request)).question
    return opened
