"""QuestionService: what owners ask about a line, and what they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2
from xinyi.v1 import question_service_pb2 as pb
from xinyi.v1.question_service_pb2_grpc import QuestionServiceServicer

from gateway.clock import bank_date
from gateway.domain.party import Role
from gateway.questions.asking import Speaker, answer, ask, question_name
from gateway.questions.case import open_case
from gateway.questions.listing import (
    QuestionFilter,
    get_photo,
    get_question,
    list_questions,
)
from gateway.questions.photo import MAX_BYTES
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, enum_name, moment, split_name
from gateway.rpc.once import once, once_for
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.streams import header_and_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.questions.listing import Question
    from gateway.rpc.caller import Caller
    from gateway.store import Row, Store

CHUNK_BYTES: Final = 256 * 1024
"""Of a photo in one message."""

_QUESTION: Final = "funds/{}/questions/{}"
_LINE: Final = "funds/{}/lines/{}"
_CASE: Final = "funds/{}/cases/{}"

_ASKERS: Final = (Role.OWNER, Role.OWNERS_COMMITTEE, Role.SUPERVISOR)
_ANSWERERS: Final = (Role.PROPERTY_FIRM, Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER)
"""Roles in which somebody who holds several asks, and answers: the first that fits."""


@dataclass(frozen=True, slots=True)
class QuestionServicer(QuestionServiceServicer):
    """Takes questions and answers, and shows them.

    Attributes:
        store: the database.
        clock: the present moment.
    """

    store: Store
    clock: Clock

    async def AskQuestion(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.AskQuestionRequest],
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.AskQuestionResponse:
        """Stores a question, with a photo if one follows."""
        header, photo = await header_and_content(request_iterator, MAX_BYTES)
        fund_id, number = split_name(header.parent, _LINE, "header.parent")
        caller = current_caller()
        asker = _speaker(caller, _ASKERS)

        async def work(conn: AsyncConnection) -> pb.AskQuestionResponse:
            text, now = header.text, self.clock()
            question_id = await ask(
                conn, fund_id, int(number), text=text, photo=photo, asker=asker, now=now
            )
            return pb.AskQuestionResponse(question=await self._read(conn, fund_id, question_id))

        whole = header.SerializeToString(deterministic=True) + sha256(photo).digest()
        return await once_for(
            self.store,
            caller,
            method=pb.AskQuestionRequest.DESCRIPTOR.full_name,
            request_id=header.request_id,
            content_digest=sha256(whole).digest(),
            response_type=pb.AskQuestionResponse,
            work=work,
        )

    async def AnswerQuestion(  # noqa: N802 - the contract's name
        self,
        request: pb.AnswerQuestionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.AnswerQuestionResponse:
        """Adds an answer."""
        fund_id, question_id = split_name(request.name, _QUESTION)
        caller = current_caller()
        by = _speaker(caller, _ANSWERERS)

        async def work(conn: AsyncConnection) -> pb.AnswerQuestionResponse:
            await answer(conn, fund_id, question_id, text=request.text, by=by, now=self.clock())
            return pb.AnswerQuestionResponse(question=await self._read(conn, fund_id, question_id))

        return await once(self.store, caller, request, pb.AnswerQuestionResponse, work)

    async def GetQuestion(  # noqa: N802 - the contract's name
        self,
        request: pb.GetQuestionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetQuestionResponse:
        """One question with its answers."""
        fund_id, question_id = split_name(request.name, _QUESTION)
        async with self.store.transaction(current_caller().scope) as conn:
            return pb.GetQuestionResponse(question=await self._read(conn, fund_id, question_id))

    async def ListQuestions(  # noqa: N802 - the contract's name
        self,
        request: pb.ListQuestionsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListQuestionsResponse:
        """Questions, newest first."""
        chosen = _filter(request)
        key = f"ListQuestions/{chosen}"
        page, today = page_of(request, key), bank_date(self.clock())
        async with self.store.transaction(current_caller().scope) as conn:
            found = await list_questions(conn, chosen, page.after_id, page.fetch, today)
        return pb.ListQuestionsResponse(
            questions=map(_question, found[: page.size]),
            next_page_token=next_token(key, found, page.size, lambda q: (q.row.question_id,)),
        )

    async def GetQuestionPhoto(  # noqa: N802 - the contract's name
        self,
        request: pb.GetQuestionPhotoRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[pb.GetQuestionPhotoResponse]:
        """What the photo is, then its bytes."""
        fund_id, question_id = split_name(request.name, _QUESTION)
        async with self.store.transaction(current_caller().scope) as conn:
            photo = await get_photo(conn, fund_id, question_id)
        yield pb.GetQuestionPhotoResponse(media_type=photo.media_type)
        for start in range(0, len(photo.content), CHUNK_BYTES):
            yield pb.GetQuestionPhotoResponse(content=photo.content[start : start + CHUNK_BYTES])

    async def OpenCase(  # noqa: N802 - the contract's name
        self,
        request: pb.OpenCaseRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.OpenCaseResponse:
        """Has people look at the line."""
        fund_id, question_id = split_name(request.name, _QUESTION)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.OpenCaseResponse:
            await open_case(conn, fund_id, question_id, actor=caller.actor, now=self.clock())
            return pb.OpenCaseResponse(question=await self._read(conn, fund_id, question_id))

        return await once(self.store, caller, request, pb.OpenCaseResponse, work)

    async def _read(self, conn: AsyncConnection, fund_id: str, question_id: str) -> pb.Question:
        today = bank_date(self.clock())
        return _question(await get_question(conn, fund_id, question_id, today))


def _speaker(caller: Caller, roles: Sequence[Role]) -> Speaker:
    return Speaker(caller.natural_person, caller.party_id, caller.acting_as(roles))


def _filter(request: pb.ListQuestionsRequest) -> QuestionFilter:
    state = enum_name(pb.QuestionState, request.state)
    line = split_name(request.line, _LINE, "line") if request.line else None
    return QuestionFilter(
        fund_id=split_name(request.parent, "funds/{}", "parent")[0],
        line=(line[0], int(line[1])) if line else None,
        state="" if state == "UNSPECIFIED" else state,
    )


def _question(question: Question) -> pb.Question:
    row = question.row
    return pb.Question(
        name=question_name(row.fund_id, row.question_id),
        line=_LINE.format(row.fund_id, row.line_number),
        text=row.text,
        asker_role=common_pb2.Role.Value(f"ROLE_{row.asker_role}"),
        asker_alias=row.asker_alias,
        state=pb.QuestionState.Value(f"QUESTION_STATE_{row.state}"),
        create_time=moment(row.created_at),
        due_date=day(row.due_date),
        answer_time=moment(row.answered_at),
        overdue_time=moment(row.overdue_at),
        answers=map(_answer, question.answers),
        photo_media_type=row.photo_media_type,
        case=_CASE.format(row.fund_id, row.case_id) if row.case_id else "",
    )


def _answer(row: Row) -> pb.Answer:
    return pb.Answer(
        text=row.text,
        role=common_pb2.Role.Value(f"ROLE_{row.role}"),
        party_name=row.party_name,
        create_time=moment(row.created_at),
    )
