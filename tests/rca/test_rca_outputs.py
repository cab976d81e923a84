"""What people get: terminal, Markdown, page, files, rows in the store; and content that tries to get out of them."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from labelproof.report.rca.build import analyse, record
from labelproof.report.rca.export import FINE_TUNE, export_items
from labelproof.report.rca.markdown import markdown
from labelproof.report.rca.model import RootCauseReport
from labelproof.report.rca.page import page_html
from labelproof.report.rca.periods import Period
from labelproof.report.rca.text import render
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest_text
from labelproof.spec.items import item_id
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.rca.rca_world import EARLIER, LATER, NOW, made

HOSTILE = "<script>alert(1)</script> [bold red]x[/] | ![a](http://e.x) \x1b[31m \u202e"


class _Scripts(HTMLParser):
    """Counts what a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in ("script", "img", "iframe", "object", "link") or names & {"src", "onclick", "onload"}:
            self.bad.append(tag)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store in which Spanish items went wrong; channels and ids are hostile."""
    folder = tmp_path_factory.mktemp("outputs")
    with open_store(folder / "store") as store:
        world = made(store, folder / "mini", "spanish", n=300, seed=3)
        rows = world.rows["items"][-60:]
        store.append(
            "items",
            {
                **{name: [row[name] for row in rows] for name in ("item_id", "project", "text_hash")},
                "external_id": [f"{HOSTILE} {i}" for i in range(60)],
                "meta_json": [json.dumps({"channel": HOSTILE}) for _ in rows],
                "ts": [NOW] * 60,
            },
        )
        store.drain_all()
    return folder


@pytest.fixture(scope="module")
def report(place: Path) -> RootCauseReport:
    with open_store(place / "store") as store:
        return _analysed(store, _folder(place))


def _folder(place: Path) -> ProjectFolder:
    return find_project(str(place / "mini"))


def _analysed(store: TraceStore, folder: ProjectFolder, metric: str = "accuracy") -> RootCauseReport:
    return analyse(store, folder, earlier=EARLIER, later=LATER, metric=metric, now=NOW)


def _printed(report: RootCauseReport, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(render(report))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(shown, str)
    return shown


def test_the_terminal_answer_fits_100_columns_and_sums(report: RootCauseReport) -> None:
    shown = _printed(report)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100
    for word in ("CHANGE", "mix shift", "sum", "WORST SLICES", "CAUSES", "language", "RULED OUT", "NEXT"):
        assert word in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_hostile_content_stays_text(report: RootCauseReport) -> None:
    page = page_html(report)
    parser = _Scripts()
    parser.feed(page)
    assert parser.bad == []
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://e.x", "")
    text = markdown(report)
    assert "<script>" not in text
    assert "![a](" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_same_store_gives_the_same_report_and_stores_it_once(
    place: Path, report: RootCauseReport
) -> None:
    with open_store(place / "store") as store:
        again = _analysed(store, _folder(place))
        assert again.rca_id == report.rca_id
        assert [row.explained for row in again.causes] == [row.explained for row in report.causes]
        assert record(store, report) == record(store, again)
        rows = store.query("SELECT * FROM root_causes", fresh=True).to_pylist()
        assert [row["rca_id"] for row in rows] == [report.rca_id]
        assert json.loads(rows[0]["report_json"])["first_cause"] == "language"
        assert rows[0]["change"] == pytest.approx(report.change)
        errors = store.query(
            "SELECT cause, count(*) AS n FROM error_causes GROUP BY cause", fresh=True
        ).to_pylist()
        assert {row["cause"]: row["n"] for row in errors} == {
            row.cause: row.n_errors for row in report.causes if row.n_errors
        }


def test_the_rate_is_that_of_its_sql(place: Path, report: RootCauseReport) -> None:
    with open_store(place / "store") as store:
        rows = store.query(report.sql["rows"], fresh=True).to_pylist()
        n = {row["decision"]: row["n"] for row in store.query(report.sql["counts"], fresh=True).to_pylist()}
    weight = [1 / row["inclusion_prob"] for row in rows]
    right = sum(w for w, row in zip(weight, rows, strict=True) if row["label"] == row["truth"])
    assert report.after is not None
    assert report.after.value == pytest.approx(right / sum(weight))
    assert report.after.population == sum(n.values())
    for name, statement in report.sql.items():
        with open_store(place / "store") as store:
            assert store.query(statement, fresh=True).num_rows >= 0, name


def test_items_to_learn_from_leave_out_what_is_not_settled_and_what_judges(
    place: Path, tmp_path: Path
) -> None:
    with open_store(place / "store") as store:
        found = _analysed(store, _folder(place))
        held = next(case.item_id for case in found.errors if case.cause == "language")
        store.append(
            "gold",
            {
                "project": ["mini"],
                "gold_fp": ["g"],
                "item_id": [held],
                "label": ["hate"],
                "split": ["test"],
                "ts": [NOW],
            },
        )
        files = export_items(store, found, tmp_path / "items")
    assert {path.stem for path in files} == {case.cause for case in found.errors} | {"fine_tune"}
    rows = [json.loads(line) for line in (tmp_path / "items" / FINE_TUNE).read_text().splitlines()]
    by_id = {case.external_id: case for case in found.errors}
    assert rows
    assert held not in {by_id[row["id"]].item_id for row in rows}
    assert all(row["label"] == by_id[row["id"]].right_label != row["was"] for row in rows)
    assert all("gold_doubt" not in by_id[row["id"]].fits for row in rows)
    all_errors = sum(len(path.read_text().splitlines()) for path in files if path.name != FINE_TUNE)
    assert all_errors == found.n_errors


def test_gold_under_another_id_and_in_disguise_is_not_learned_from(place: Path, tmp_path: Path) -> None:
    with open_store(place / "store") as store:
        found = _analysed(store, _folder(place))
        export_items(store, found, tmp_path / "before")
        before = [json.loads(line) for line in (tmp_path / "before" / FINE_TUNE).read_text().splitlines()]
        leaked = before[0]["text"]
        store.append(
            "texts", {"text_hash": ["h-gold"], "text": [leaked.replace("e", "\u00e9").replace(" ", "  ")]}
        )
        store.append(
            "items",
            {"item_id": ["other-id"], "project": ["mini"], "text_hash": ["h-gold"], "ts": [NOW]},
        )
        store.append(
            "gold",
            {
                "project": ["mini"], "gold_fp": ["g"], "item_id": ["other-id"], "label": ["hate"],
                "split": ["certify"], "ts": [NOW],
            },
        )  # fmt: skip
        export_items(store, found, tmp_path / "after")
    after = [json.loads(line) for line in (tmp_path / "after" / FINE_TUNE).read_text().splitlines()]
    assert leaked not in {row["text"] for row in after}
    assert [row for row in before if row in after] == after


def test_one_period_is_explained_by_itself(place: Path) -> None:
    with open_store(place / "store") as store:
        found = analyse(store, _folder(place), earlier=None, later=LATER, now=NOW)
    assert found.change is None
    assert found.exit_code == 0
    assert found.first_cause == "language"
    assert "errors" in found.headline
    assert _printed(found)
    assert "What the change is made of" not in page_html(found)


def test_no_answer_says_what_is_missing(place: Path) -> None:
    nothing = Period(start=NOW + timedelta(days=9), end=NOW + timedelta(days=16), name="later")
    with open_store(place / "store") as store:
        found = analyse(store, _folder(place), earlier=LATER, later=nothing, now=NOW)
        assert found.exit_code == 2
        assert "nothing was decided in later" in found.headline
        assert "decisions lie between 2026-10-05 and 2026-10-1" in found.headline
        assert "Cannot be answered" in _printed(found)
        assert "Cannot be answered" in page_html(found)
        assert "Cannot be answered" in markdown(found)
        record(store, found)
        assert not store.query(
            "SELECT 1 FROM root_causes WHERE rca_id = ?", [found.rca_id], fresh=True
        ).num_rows
        with pytest.raises(ConfigError, match="overlap"):
            analyse(store, _folder(place), earlier=LATER, later=LATER, now=NOW)
        with pytest.raises(ConfigError, match="expected one of accuracy"):
            _analysed(store, _folder(place), "cost_per_1000")
        with pytest.raises(ConfigError, match="no label"):
            _analysed(store, _folder(place), "recall:rude")


def test_recall_counts_items_of_the_class(place: Path) -> None:
    with open_store(place / "store") as store:
        found = _analysed(store, _folder(place), "recall:hate")
    assert found.worse
    assert found.first_cause == "language"
    assert {case.right_label for case in found.errors} == {"hate"}


def test_gold_in_the_traffic_serves_where_nobody_audits(tmp_path: Path) -> None:
    """The gold changed between the periods: that part is the yardstick's, not the model's."""
    texts = [f"text number {i} about the garden" for i in range(60)]
    ids = [item_id(text) for text in texts]
    with open_store(tmp_path / "store") as store:
        world = made(store, tmp_path / "mini", n=1)
        for run, week in (("g1", EARLIER), ("g2", LATER)):
            store.append_many(
                {
                    "runs": {
                        "run_id": [run], "project": ["mini"], "strategy": ["champion"], "strategy_fp": ["f"],
                        "event": ["started"], "ts": [week.start],
                    },
                    "decisions": {
                        "run_id": [run] * 60, "item_id": ids, "strategy_fp": ["f"] * 60, "label": ["safe"] * 60,
                        "confidence": [0.95] * 60, "decision": ["auto_accept"] * 60, "inclusion_prob": [0.0] * 60,
                        "audited": [False] * 60, "ts": [week.start + timedelta(hours=1)] * 60,
                    },
                }
            )  # fmt: skip
        for fp, n_hate, ts in (("g1", 3, EARLIER.start), ("g2", 15, LATER.start)):
            labels = ["hate"] * n_hate + ["safe"] * (60 - n_hate)
            store.append(
                "gold",
                {
                    "gold_set": ["g"] * 60, "gold_fp": [fp] * 60, "project": ["mini"] * 60, "item_id": ids,
                    "label": labels, "split": ["test"] * 60, "inclusion_prob": [1.0] * 60, "ts": [ts] * 60,
                },
            )  # fmt: skip
        store.append_many(
            {
                "texts": {"text_hash": [digest_text(t) for t in texts], "text": texts},
                "items": {
                    "item_id": ids, "external_id": [f"g{i}" for i in range(60)], "project": ["mini"] * 60,
                    "text_hash": [digest_text(t) for t in texts], "ts": [EARLIER.start] * 60,
                },
            }
        )  # fmt: skip
        found = _analysed(store, world.folder)
    assert found.change == pytest.approx(-12 / 60)
    parts = {part.name: part for part in found.parts}
    assert parts["gold / reviewers"].value == pytest.approx(-12 / 60)
    assert "gold label of 12 items changed" in parts["gold / reviewers"].line
    assert any("gold items in the traffic" in note for note in found.notes)


def test_a_next_command_asks_the_same_days_on_any_later_day(place: Path) -> None:
    with open_store(place / "store") as store:
        folder = find_project(str(place / "mini"))
        report = analyse(store, folder, earlier=EARLIER, later=LATER, metric="accuracy", now=NOW)
    commands = [one.command for one in report.actions if one.command and "--export-items" in one.command]
    same = "labelproof rca mini --from 2026-10-05..2026-10-11 --to 2026-10-12..2026-10-18 --export-items rca-items"
    assert commands
    assert set(commands) == {same}
