"""`python -m labelproof.stack.daemon ROOT OPTIONS_JSON`: the supervisor without a terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from labelproof.spec.errors import LabelproofError
from labelproof.stack.plan import Options, make_supervisor


def main(argv: list[str]) -> int:
    root = Path(argv[0])
    os.chdir(root)
    try:
        supervisor = make_supervisor(root, Options(**json.loads(argv[1])), report=_log)
        supervisor.handle_signals()
        return 0 if supervisor.run() else 1
    except LabelproofError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _log(step: str) -> None:
    from datetime import datetime

    sys.stdout.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {step}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
