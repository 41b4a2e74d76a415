"""The attack on one reader, in a process of its own: `python -m tests.fuzz.one READER [option…]`.

The options are libFuzzer's. It ends by itself, or at the first crash, whose file it keeps.
"""

import sys
from random import Random

import atheris  # type: ignore[import-untyped] # it carries no types

with atheris.instrument_imports(include=["adapters", "gateway.cases", "tomllib"]):
    from tests.fuzz import readers

from tests.fuzz.mutate import mutated


def main() -> None:
    """Fuzz the reader that the first argument names."""
    program, name, *options = sys.argv
    reader = readers.READERS[name]

    def change(content: bytes, most_bytes: int, seed: int) -> bytes:
        random = Random(seed)  # noqa: S311 - repeatable, no secret

        def raw(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, max(len(part) + 64, 64)))

        return mutated(content, reader.shape, reader.words, random, raw)[:most_bytes]

    atheris.Setup([program, *options], reader.attack, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
