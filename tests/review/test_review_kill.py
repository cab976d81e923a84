"""An app killed with -9 in the middle of its work: what it acknowledged is stored, and nobody is stuck."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from labelproof.review.desk import Desk
from labelproof.review.model import Assignment, Reviewer
from labelproof.review.office import open_office
from labelproof.store import open_store
from tests.report.review_rows import add_items
from tests.review.desk_helpers import add_tasks, make_folder

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import os, sys, threading
from pathlib import Path
from labelproof.review.desk import Desk
from labelproof.review.model import Assignment, Ballot, Reviewer
from labelproof.review.office import open_office
from labelproof.spec.project import find_project
from labelproof.store import open_store

place = Path(sys.argv[1])
store, office = open_store(place / "store"), open_office(place / "office.db")
desk = Desk.open(store, office, {"mini": find_project(str(place / "mini"))})
desk.start()

def work(name):
    who = Reviewer(name=name)
    while isinstance(given := desk.next(who, "mini"), Assignment):
        task = given.task.task_id
        desk.cast(who, "mini", Ballot(
            task_id=task, token=given.lease.token, key=f"key of {task}"[:60], answer="label", label="hate"))
        os.write(1, f"{task} {name}\\n".encode())

for name in ("p1", "p2", "p3"):
    threading.Thread(target=work, args=(name,), daemon=True).start()
threading.Event().wait()
"""


def test_what_was_acknowledged_survives_a_kill_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    n = 400
    with open_store(tmp_path / "store") as store:
        ids = add_items(store, [f"text {i}" for i in range(n)])
        add_tasks(store, folder, ids, at=datetime.now(UTC))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    lines = [worker.stdout.readline() for _ in range(40)]
    worker.kill()
    rest, _ = worker.communicate()
    # A line cut by the kill was not read by anybody: only whole ones are acknowledgements.
    lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    acknowledged = {(task, name) for task, name in (line.split() for line in lines)}
    assert 40 <= len(acknowledged) < n, "the kill came too late to prove anything"

    with open_store(tmp_path / "store") as store, open_office(tmp_path / "office.db") as office:
        rows = store.query("SELECT task_id, annotator FROM votes", fresh=True).to_pylist()
        stored = [(row["task_id"], row["annotator"]) for row in rows]
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored)) == len({task for task, _ in stored})
        assert len(stored) <= len(acknowledged) + 3, (
            "at most the three answers under way were not acknowledged"
        )
        with Desk.open(store, office, {"mini": folder}) as desk:
            assert desk.overview("mini").n_open == n - len(stored)
            held = {lease.task_id for lease in office.leases.held("mini", datetime.now(UTC))}
            waiting = held - {task for task, _ in stored}
            back = [desk.next(Reviewer(name=f"p{i}"), "mini") for i in (1, 2, 3)]
            given = {one.task.task_id for one in back if isinstance(one, Assignment)}
            assert len(given) == 3
            assert waiting <= given, "whoever held a task when the app died gets it back"
