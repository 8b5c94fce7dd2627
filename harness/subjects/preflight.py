"""`python -m stepaudit.harness.subjects.preflight NAME`: can this loop be loaded? Prints one JSON line."""

from __future__ import annotations

import json
import sys

from .own import OwnLoop
from .subject import SubjectError


def main(name: str) -> int:
    """Load the loop; return 0, or 1 after printing why not."""
    try:
        OwnLoop(name).load()
    except (SubjectError, SystemExit) as error:
        text = str(error) if isinstance(error, SubjectError) else f"subject {name!r}: importing it exits ({error})"
        print(json.dumps({"error": text}))  # noqa: T201  the protocol
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
