"""Two app processes over one office: no task has two holders, and every task is served."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from labelproof.review.office import open_office
from tests.review.office_helpers import T0, claim

ROOT = Path(__file__).parents[2]
N_TASKS = 200
# A folder per held task is the witness: making it fails when somebody else has it, whatever the office says.
REVIEWERS = """
import os, random, sys, threading
from datetime import datetime, timedelta, UTC
from pathlib import Path
from labelproof.review.office import open_office

folder, name, n_tasks = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
problems = []

def work(office, who):
    luck = random.Random(who)
    todo = [f"t{n}" for n in range(n_tasks)]
    luck.shuffle(todo)
    while todo:
        task = todo.pop()
        now = datetime.now(UTC)
        lease = office.leases.claim(task, "p", who, now=now, until=now + timedelta(minutes=10))
        if lease is None:
            holder = office.leases.holder(task, now)
            if holder is not None:
                todo.insert(0, task)
            continue
        witness = folder / task
        witness.mkdir()
        assert office.leases.holder(task, now).reviewer == who
        if luck.random() < 0.2:
            witness.rmdir()
            assert office.leases.release(task, lease.token)
            todo.insert(0, task)
            continue
        if luck.random() < 0.2:
            assert office.leases.renew(who, {task: lease.token}, until=now + timedelta(hours=1), now=now) == {task: True}
        with open(folder / f"done-{name}", "a") as done:
            done.write(task + "\\n")
        witness.rmdir()
        office.leases.finish(task, who, decided=True, now=now)

def guarded(*args):
    try:
        work(*args)
    except BaseException as problem:
        problems.append(repr(problem))

print("ready", flush=True)
sys.stdin.readline()
with open_office(folder / "office" / "office.db") as office:
    threads = [threading.Thread(target=guarded, args=(office, f"{name}{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(problems)
"""


@pytest.mark.slow
def test_two_processes_with_four_threads_each_never_hold_one_task(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", REVIEWERS, str(tmp_path), name, str(N_TASKS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:  # both make the new office at once
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            assert process.communicate(timeout=100)[0] == "[]\n"
            assert process.returncode == 0
    finally:
        for process in started:
            with process:
                process.kill()
    done = {name: (tmp_path / f"done-{name}").read_text().split() for name in ("left", "right")}
    assert Counter(done["left"] + done["right"]) == Counter(f"t{n}" for n in range(N_TASKS))
    assert min(map(len, done.values())) > 0
    with open_office(tmp_path / "office" / "office.db") as office:
        assert office.leases.held("p", T0) == []
        assert claim(office, "t0", "somebody else") is None
