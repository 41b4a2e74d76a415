"""`xinyi estate`: the residential estates."""

from xinyi.v1.fund_service_pb2 import ListEstatesRequest

from gateway.cli.frame import EVERYONE, Session, group, remote
from gateway.cli.options import Limit
from gateway.cli.screen import Column
from gateway.client import collect

app = group("Residential estates 小区与院落.")

_COLUMNS = (
    Column("小区", "Estate"),
    Column("名称", "Name", prose=True),
    Column("连片管理", "Group"),
)


@remote(app, "list", EVERYONE)
async def _list(session: Session, limit: Limit = 500) -> None:
    """List the estates you may see."""
    answer = await collect(session.stubs.funds.ListEstates, ListEstatesRequest(), limit)
    session.screen.list(
        answer, _COLUMNS, ((e.name, e.display_name, e.group) for e in answer.estates)
    )
