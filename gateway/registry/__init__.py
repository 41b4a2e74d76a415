"""The register: parties, persons, what identifies them, estates, funds, and who may sign what.

Plain functions over a connection, which is bound to a caller's scope. Public keys only.
"""
