"""Cases as a workbook or a CSV file that a person fills in, and such a file read back."""

from gateway.cases.sheet.columns import Format
from gateway.cases.sheet.reading import SheetError, read
from gateway.cases.sheet.writing import write

__all__ = ["Format", "SheetError", "read", "write"]
