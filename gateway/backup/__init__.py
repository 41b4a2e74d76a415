"""Backups by PostgreSQL's own programs, and restoring to a point in time.

A backup directory holds base backups, each with the files of the gateway beside it, and the
database's log (WAL) from which any moment after a base can be restored::

    DIR/20261120T010000Z/postgres/    a base backup, proved by its manifest
                         files/       the banks' folders, the nights, the anchor
                         backup.json  written last: without it the backup is not whole
    DIR/wal/                          the log, carried by `xinyi backup log`

Nothing is ever overwritten, and no private key is taken along.
"""
