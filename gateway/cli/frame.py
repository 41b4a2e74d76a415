"""Around every command: who calls, in which language, and what a failure looks like.

A command is a function whose first parameter is its `Screen` (offline) or its `Session` (remote);
`--as`, `--lang` and `--json` are added here. It returns its exit status: nothing or 0 for a clean
end, `MISMATCH` for a finding or a person's no. Failures end with `FAILURE`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature, getdoc, signature
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import typer
from pydantic import ValidationError

from gateway.audit.anchor import AnchorError
from gateway.cli.labels import blockers
from gateway.cli.screen import Screen, print_error
from gateway.cli.status import FAILURE
from gateway.client import CallRefused, Profile, ProfileError, Stubs, connect, read_profile, stubs
from gateway.domain.describe import Language
from gateway.domain.errors import GatewayError
from gateway.domain.party import identity_uri
from gateway.settings import Settings

FIRM: Final = "Property firm 物业公司"
SIGNERS: Final = "Signers 签署人"
TRUSTEE: Final = "Trustee 受托人"
OPERATOR: Final = "Operator 运维"
SUPERVISOR: Final = "Supervisor 监察人"
EVERYONE: Final = "Everyone 所有人"

_Offline = Callable[..., int | None]
_Remote = Callable[..., Awaitable[int | None]]
_COMMON = "Common options"
_PEOPLE_LISTED = 50

As = Annotated[
    str | None,
    typer.Option(
        "--as",
        envvar="XINYI_AS",
        metavar="PARTY/PERSON",
        help="Who you are: picks your certificate and keys.",
        rich_help_panel=_COMMON,
    ),
]
_Lang = Annotated[
    Literal["zh", "en"] | None,
    typer.Option("--lang", help="Language of labels and prompts.", rich_help_panel=_COMMON),
]
_Json = Annotated[
    bool, typer.Option("--json", help="Machine JSON on stdout.", rich_help_panel=_COMMON)
]


@dataclass(frozen=True, slots=True)
class Session:
    """One person's call at one gateway."""

    screen: Screen
    profile: Profile
    stubs: Stubs


class Complaint(Exception):  # noqa: N818 - it is what the person reads, not an error of ours
    """What keeps a command from being done, in both languages."""

    def __init__(self, message: str, message_zh: str, *details: str) -> None:
        super().__init__(f"{message} / {message_zh}")
        self.details = details


def group(summary: str) -> typer.Typer:
    """A noun: commands under one name."""
    return typer.Typer(help=summary, no_args_is_help=True)


def offline(
    app: typer.Typer, name: str | None, panel: str | None = None
) -> Callable[[_Offline], None]:
    """Registers a command that needs no gateway; without a name what a group does by itself."""

    def register(body: _Offline) -> None:
        def run(lang: Language | None, json: bool, **given: Any) -> int | None:  # noqa: ANN401 - the command's own
            return body(Screen(lang or _language(), json), **given)

        _register(app, name, panel, body, run, {"lang": _Lang, "json": _Json})

    return register


def remote(app: typer.Typer, name: str, panel: str | None = None) -> Callable[[_Remote], None]:
    """Registers a command that calls the gateway as a person."""

    def register(body: _Remote) -> None:
        def run(who: str | None, lang: Language | None, json: bool, **given: Any) -> int | None:  # noqa: ANN401 - as above
            profile = find_profile(Settings().data_dir / "people", who)
            screen = Screen(lang or profile.lang, json)

            async def connected() -> int | None:
                async with connect(profile) as channel:
                    return await body(Session(screen, profile, stubs(channel)), **given)

            return asyncio.run(connected())

        _register(app, name, panel, body, run, {"who": As, "lang": _Lang, "json": _Json})

    return register


def _register(
    app: typer.Typer,
    name: str | None,
    panel: str | None,
    body: Callable[..., object],
    run: Callable[..., int | None],
    common: dict[str, Any],
) -> None:
    """Shows typer the parameters of `body` with the common ones in place of its first."""

    def command(**given: Any) -> None:  # noqa: ANN401 - as typer parsed them
        with failures():
            status = run(**given)
        if status:
            raise typer.Exit(status)

    own = list(signature(body).parameters.values())[1:]
    shared = [
        Parameter(key, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for key, kind in common.items()
        if key != "json"
    ]
    shared.append(Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=_Json))
    command.__signature__ = Signature(  # type: ignore[attr-defined] # inspect honours it
        [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *shared]
    )
    if name is None:
        app.callback(invoke_without_command=True, help=getdoc(body))(command)
    else:
        app.command(name, help=getdoc(body), rich_help_panel=panel)(command)


@contextmanager
def failures() -> Iterator[None]:
    """Turns every refusal into one readable line, its details, and the status of a failure."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader went away: nobody is left to be told
    except CallRefused as refused:
        _fail(str(refused), [*_violations(refused), *blockers(refused.metadata)])
    except GatewayError as error:
        _fail(f"{error} / {error.message_zh}", _violations(error))
    except Complaint as complaint:
        _fail(str(complaint), complaint.details)
    except ProfileError as error:
        _fail(f"{error} / 身份目录不可用", ())
    except AnchorError as error:
        _fail(f"{error} / 锚点无法读取，不能证明数据库完整", ())
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        named = [f"XINYI_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in wrong]
        _fail("the settings break a rule / 设置不符合要求", named)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror} / 文件或系统错误", ())


def find_profile(people: Path, who: str | None) -> Profile:
    """The directory of ``PARTY/PERSON`` among the people.

    Raises:
        Complaint: nobody was named, or the name is not there; lists who is.
        ProfileError: the directory is not usable.
    """
    party, _, person = (who or "").partition("/")
    if who is None:
        raise Complaint("say who you are with --as", "请用 --as 说明身份", *_available(people))
    identity_uri(party, person)
    directory = people / f"{party}.{person}"
    if not directory.is_dir():
        raise Complaint(f"{people} has no {who}", "没有此人的身份目录", *_available(people))
    return read_profile(directory)


def _available(people: Path) -> list[str]:
    names = sorted(each.name for each in people.glob("*.*") if each.is_dir())
    listed = [f"--as {name.replace('.', '/', 1)}" for name in names[:_PEOPLE_LISTED]]
    return listed or [f"nobody yet in / 尚无任何人: {people}"]


def _language() -> Language:
    """English where the environment says so, else Chinese."""
    said = next((os.environ[key] for key in ("LC_ALL", "LANG") if os.environ.get(key)), "")
    return "en" if said.startswith("en") else "zh"


def _violations(refusal: CallRefused | GatewayError) -> list[str]:
    """The fields at fault, unless the message is just the one of them."""
    named = [f"{each.field}: {each.description}" for each in refusal.violations]
    return named if named != [refusal.message] else []


def _fail(line: str, details: "list[str] | tuple[str, ...]") -> NoReturn:
    print_error(line)
    for detail in details:
        print_error(f"  {detail}")
    raise typer.Exit(FAILURE)
