"""The gateway's database, for commands that reach it without a gateway."""

from gateway.cli.frame import Complaint
from gateway.settings import Settings


def existing_database(settings: Settings) -> str:
    """The URL of the database that the settings name; the embedded one is started if need be.

    Raises:
        Complaint: none is named, and the data directory has none.
    """
    # Only these commands load the 73 MB of the embedded server.
    from gateway.store import embedded  # noqa: PLC0415 - as said above

    directory = settings.data_dir / "postgres"
    if settings.database_url:
        return settings.database_url
    if not embedded.is_there(directory):
        raise Complaint(
            f"{settings.data_dir} has no database; set XINYI_DATABASE_URL or XINYI_DATA_DIR",
            "此目录没有数据库",
        )
    return embedded.start(directory)
