"""Generate the Python code of the contract into ``protos/gen``. Run it by ``make generate``.

``google/*`` is not generated: the googleapis-common-protos package ships it. ``buf/validate`` is,
because protovalidate ships no code for its own annotations.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
OUT = ROOT / "gen"


def _protoc(sources: list[Path], root: Path, *plugins: str) -> None:
    well_known = Path(protoc.__file__).parent / "_proto"
    includes = [f"-I{ROOT}", f"-I{ROOT / 'vendor'}", f"-I{well_known}"]
    outputs = [f"--{plugin}_out={OUT}" for plugin in plugins]
    files = [str(source.relative_to(root)) for source in sources]
    if protoc.main(["protoc", *includes, *outputs, *files]) != 0:
        sys.exit("protoc failed")


def main() -> None:
    """Generate messages, stubs and their types."""
    OUT.mkdir(exist_ok=True)
    contract = sorted((ROOT / "xinyi" / "v1").glob("*.proto"))
    _protoc(contract, ROOT, "python", "grpc_python", "mypy", "mypy_grpc")
    vendor = ROOT / "vendor"
    _protoc(sorted((vendor / "buf").rglob("*.proto")), vendor, "python", "mypy")


if __name__ == "__main__":
    main()
