"""A runner process for the tests to kill: STORE SUBJECT CELLS."""

import sys
from pathlib import Path

from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.store import Store
from sweeps import FakeSubject, options, plan


def main():
    path, subject, cells = sys.argv[1:]
    with Store(Path(path)) as store:
        print("open", flush=True)
        try:
            finished = run_sweep(
                plan(FakeSubject(name=subject), rows=range(1, int(cells) + 1)),
                store,
                options(),
                lambda _: None,
            )
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    print(finished)


if __name__ == "__main__":
    main()
