"""`xinyi fund`: one estate's common fund, its two books, budget, policy and bank accounts."""

from collections.abc import Iterator

from xinyi.v1.common_pb2 import Book, Role
from xinyi.v1.fund_service_pb2 import (
    GetFundRequest,
    GetSigningPolicyRequest,
    ListBankAccountsRequest,
    ListBudgetLinesRequest,
    ListFundsRequest,
    SigningTier,
)
from xinyi.v1.ledger_service_pb2 import GetBalanceRequest, GetBalanceResponse

from gateway.cli.frame import EVERYONE, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import AsOf, FundArgument, Limit
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, last, minor, moment, money, to_day
from gateway.client import call, collect
from gateway.domain.describe import Language

app = group("Funds: balance, budget, signing policy, bank accounts 共有基金.")

_FUND = Column("基金", "Fund")
_NAME = Column("名称", "Name", prose=True)
_ESTATE = Column("小区", "Estate")
_TRUSTEE = Column("受托人", "Trustee")
_BUDGET = (
    Column("预算科目", "Budget line"),
    Column("账簿", "Book"),
    Column("类别", "Category", prose=True),
    Column("额度", "Limit", right=True),
    Column("占用", "Held", right=True),
    Column("已用", "Spent", right=True),
    Column("可用", "Available", right=True),
    Column("起", "From"),
    Column("止", "To"),
)
_BALANCE = (
    Column("项目", "Item"),
    Column("合计", "Total", right=True),
    Column("银行已确认", "Settled", right=True),
    Column("待确认", "Pending", right=True),
    Column("占用", "Held", right=True),
    Column("可用", "Available", right=True),
)
_POLICY = (
    Column("单笔不超过", "Payments up to", right=True),
    Column("一方", "One signature", prose=True),
    Column("另一方", "The other signature", prose=True),
)
_ACCOUNTS = (
    Column("账户", "Account"),
    Column("账号", "Number"),
    Column("户名", "Holder", prose=True),
    Column("联行号", "Bank code"),
    Column("银行接口", "Bank profile"),
    Column("期初余额", "Opening", right=True),
    Column("期初日", "Opening day"),
)


@remote(app, "list", EVERYONE)
async def _list(session: Session, limit: Limit = 500) -> None:
    """List the funds you may see."""
    answer = await collect(session.stubs.funds.ListFunds, ListFundsRequest(), limit)
    rows = ((f.name, f.display_name, f.estate, f.trustee) for f in answer.funds)
    session.screen.list(answer, (_FUND, _NAME, _ESTATE, _TRUSTEE), rows)


@remote(app, "show", EVERYONE)
async def _show(session: Session, fund: FundArgument) -> None:
    """Show one fund."""
    answer = await call(session.stubs.funds.GetFund, GetFundRequest(name=fund))
    said = answer.fund
    facts = (
        (_FUND, said.name),
        (_NAME, said.display_name),
        (_ESTATE, said.estate),
        (_TRUSTEE, said.trustee),
        (Column("币种", "Currency"), said.currency),
        (Column("设立时间（北京）", "Opened (Beijing)"), moment(said.create_time)),
    )
    session.screen.one(answer, facts)


@remote(app, "balance", EVERYONE)
async def _balance(session: Session, fund: FundArgument, as_of: AsOf = None) -> None:
    """Show what a fund has: at the bank, between book and bank, and in each of its two books."""
    request = GetBalanceRequest(parent=fund, as_of_date=to_day(as_of))
    answer = await call(session.stubs.ledger.GetBalance, request)
    session.screen.list(answer, _BALANCE, _balance_rows(answer, session.screen.lang))


def _balance_rows(answer: GetBalanceResponse, lang: Language) -> Iterator[Row]:
    for book in answer.books:
        sums = (book.total, book.settled, book.pending, book.held, book.available)
        yield label(Book, book.book, lang), *map(money, sums)
    yield "银行存款" if lang == "zh" else "at the bank", money(answer.bank), "", "", "", ""
    yield "在途" if lang == "zh" else "in transit", money(answer.transit), "", "", "", ""


@remote(app, "budget", EVERYONE)
async def _budget(session: Session, fund: FundArgument, limit: Limit = 500) -> None:
    """List budget lines with what is held, spent and left."""
    request = ListBudgetLinesRequest(parent=fund)
    answer = await collect(session.stubs.funds.ListBudgetLines, request, limit)
    rows = (
        (
            last(line.name),
            label(Book, line.book, session.screen.lang),
            line.category,
            *map(money, (line.limit, line.held, line.spent, line.available)),
            day(line.start_date),
            day(line.end_date),
        )
        for line in answer.budget_lines
    )
    session.screen.list(answer, _BUDGET, rows)


@remote(app, "policy", EVERYONE)
async def _policy(session: Session, fund: FundArgument) -> None:
    """Show which two parties must sign, by amount."""
    funds = session.stubs.funds
    answer = await call(funds.GetSigningPolicy, GetSigningPolicyRequest(parent=fund))
    currency = (await call(funds.GetFund, GetFundRequest(name=fund))).fund.currency
    rows = (_tier(tier, currency, session) for tier in answer.signing_policy.tiers)
    session.screen.list(answer, _POLICY, rows)


def _tier(tier: SigningTier, currency: str, session: Session) -> Row:
    upper = minor(tier.up_to_minor, currency) if tier.up_to_minor else None
    sides = (
        session.screen.pick("或", " or ").join(
            label(Role, role, session.screen.lang) for role in roles
        )
        for roles in (tier.first_roles, tier.second_roles)
    )
    return upper or session.screen.pick("不限", "any"), *sides


@remote(app, "accounts", EVERYONE)
async def _accounts(session: Session, fund: FundArgument, limit: Limit = 500) -> None:
    """List the bank accounts that hold a fund's money."""
    request = ListBankAccountsRequest(parent=fund)
    answer = await collect(session.stubs.funds.ListBankAccounts, request, limit)
    rows = (
        (
            last(account.name),
            account.account_number,
            account.holder_name,
            account.bank_code,
            account.bank_profile,
            money(account.opening_balance),
            day(account.opening_date),
        )
        for account in answer.bank_accounts
    )
    session.screen.list(answer, _ACCOUNTS, rows)
