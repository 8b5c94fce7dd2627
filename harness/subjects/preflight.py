"""`python -m stepaudit.harness.subjects.preflight NAME ...`: can these loops be loaded? Prints one JSON line if not."""

from __future__ import annotations

import json
import sys

from .own import OwnLoop
from .subject import SubjectError


def main(names: list[str]) -> int:
    """Load the loops; return 0, or 1 after printing why the first one that cannot be loaded cannot."""
    for name in names:
        try:
            OwnLoop(name).load()
        except (SubjectError, SystemExit) as error:
            text = (
                str(error)
                if isinstance(error, SubjectError)
                else f"subject {name!r}: importing it exits ({error})"
            )
            print(json.dumps({"error": text}))  # noqa: T201  the protocol
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
