"""What operators write: rules, the case policy, banks; and the calendar of a package."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from adapters.calendar import Calendar, CalendarUnknownError, is_working_day
from adapters.reach import Banks
from gateway.bank.ways import Usable, ways
from gateway.cases.policy import PolicyError, load_policy
from gateway.clock import bank_date
from gateway.doctor.finding import fail, ok, warn
from reconciliation.engines import EngineError, engine_named
from reconciliation.rules import RulesError, load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gateway.doctor.finding import Finding
    from gateway.settings import Settings

SOON: Final = timedelta(days=60)

_CHINA: Final = Calendar(working_days="china")
_MOST_YEARS: Final = 5


def examine(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Everything that is read from files besides TLS."""
    yield _rules(settings)
    yield _case_policy(settings)
    yield _engine(settings)
    yield from _banks(Banks(settings.banks_dir, settings.profiles_dir))
    yield calendar(bank_date(now))


def _rules(settings: Settings) -> Finding:
    if settings.rules is None:
        return ok("rules", "默认对账规则", "the default rules")
    try:
        rules = load_rules(settings.rules)
    except RulesError as wrong:
        return _wrong_file("rules", str(wrong), "XINYI_RULES")
    return ok("rules", rules.label(), rules.label())


def _case_policy(settings: Settings) -> Finding:
    if settings.case_policy is None:
        return ok("case_policy", "默认差异处理规定", "the default case policy")
    try:
        load_policy(settings.case_policy)
    except PolicyError as wrong:
        return _wrong_file("case_policy", str(wrong), "XINYI_CASE_POLICY")
    return ok("case_policy", str(settings.case_policy), str(settings.case_policy))


def _wrong_file(check: str, why: str, variable: str) -> Finding:
    return fail(
        check,
        (f"不能使用，网关不会启动：{why}", f"cannot be used, the gateway will not start: {why}"),
        (f"改正 {variable} 指向的文件", f"mend the file that {variable} names"),
    )


def _engine(settings: Settings) -> Finding:
    try:
        engine_named(settings.night_engine, settings.ray_address)
    except EngineError as wrong:
        return fail(
            "night_engine",
            (f"对账引擎不可用：{wrong}", f"the night's engine cannot be used: {wrong}"),
            ("安装 ray 组件，或改用 local", "install the extra `ray`, or use local"),
        )
    return ok("night_engine", settings.night_engine, settings.night_engine)


def _banks(banks: Banks) -> Iterator[Finding]:
    """Each bank that cannot be used; one line for all that can."""
    fine = []
    for way in ways(banks):
        if way.usable is Usable.NO:
            yield fail(
                "bank",
                (f"{way.profile} 不可用：{way.why}", f"{way.profile} cannot be used: {way.why}"),
                ("改正后用 xinyi bank reach 复查", "mend it; xinyi bank reach looks again"),
            )
        elif way.usable is Usable.YES:
            fine.append(f"{way.profile} ({way.kind})")
    named = ", ".join(fine)
    yield ok("banks", f"可用：{named}", f"can be used: {named}")


def calendar(today: date) -> Finding:
    """Until when the working days are known; beyond, no payment that needs one is released."""
    known = _known_until(today)
    todo = (
        "年度放假通知公布后升级 chinesecalendar，或在银行接口中写明 extra_workdays",
        "upgrade chinesecalendar after the year's notice, or name the days in banks' profiles",
    )
    if known is None:
        what = (f"{today.year} 年工作日未知", f"the working days of {today.year} are not known")
        return fail("calendar", what, todo)
    what = (f"工作日已知至 {known}", f"working days are known until {known}")
    if known - today < SOON:
        return warn("calendar", what, todo)
    return ok("calendar", *what)


def _known_until(today: date) -> date | None:
    known = None
    for year in range(today.year, today.year + _MOST_YEARS):
        end = date(year, 12, 31)
        try:
            is_working_day(end, _CHINA)
        except CalendarUnknownError:
            break
        known = end
    return known
