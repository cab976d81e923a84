"""One labeling run from project file to summary: what the flow and the CLI drive, batch by batch."""

from __future__ import annotations

import asyncio
import random
import secrets as token
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from agents.certificates import StoredCertificate, find_valid, pool_of
from agents.examples import ExampleBank
from agents.line import StoppedLine, stopped_line
from agents.models import Budget, ChatModel, Governors, open_model
from agents.run.asks import Asks
from agents.run.engine import Counts, Engine, in_batches
from agents.run.history import (
    may_be_cached,
    params_json,
    recorded_rows,
    run_totals,
    spent_usd,
    unfinished_run,
)
from agents.run.lock import RunLock, RunUnderWayError
from agents.run.recorder import Recorder
from agents.run.rows import Arm, RunInfo
from agents.run.workload import Workload, load_workload
from agents.secrets import RunSecrets
from agents.state import Example, ItemState
from agents.steps import Resources
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import Strategy
from labelproof.store import BackgroundDrain, TraceStore, default_store, open_store

BATCH_SAMPLE = 1000
"""Items that batch calibration learns the model's bias from when there is no gold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequest:
    """What to label, with what, and how far."""

    project: str
    strategy: str | None = None
    limit: int | None = None
    batch_size: int = 200
    repeat: int = 0
    """Raise it to call the models again over the same items (A/A rerun)."""
    max_cost_usd: float | None = None
    store: str | None = None
    queue: bool | None = None
    """Whether what the machine may not decide becomes review tasks; None: for the project's default strategy."""


class LabelSession:
    """A run under way. Open it, ``start``, ``fit``, ``label_batch`` for each batch, ``finish``.

    The same request on the same content finds its unfinished run again and goes on with it.
    """

    def __init__(
        self,
        request: LabelRequest,
        work: Workload,
        store: TraceStore,
        *,
        flow_run_id: str | None = None,
        on_item: Callable[[], None] | None = None,
        judged: Callable[[Sequence[ItemState]], None] | None = None,
        arm: Arm | None = None,
    ) -> None:
        """``judged`` makes it a run that only looks at answers: it is given the final states of every batch, and
        no decision is stored. ``arm`` stores the answers as that arm's instead of deciding.
        """
        self.request = request
        self.work = work
        self.store = store
        self.batches = list(in_batches(work.items, request.batch_size))
        self.params: dict[str, Any] = {"limit": request.limit, "repeat": request.repeat}
        if judged is not None:
            self.params["purpose"] = "judge"
        if arm is not None:
            self.params["arm"] = [arm.experiment_id, arm.name]
        previous = unfinished_run(store, work, self.params)
        self.resumed = previous is not None
        run_id = previous or _new_run_id()
        self._lock = RunLock(store.location.root / "runs" / f"{run_id}.lock")
        if not self._lock.acquire():
            raise RunUnderWayError(
                f"run {run_id} of this strategy over these items is under way in process {self._lock.holder()}",
                hint="wait for it, or stop it and run again: what it has done is kept",
            )
        self.run = RunInfo(
            run_id=run_id,
            project=work.folder.name,
            project_fp=work.project_fp,
            strategy=work.strategy.name,
            strategy_fp=work.resolved.fingerprint,
            repeat_idx=request.repeat,
            flow_run_id=flow_run_id,
            purpose="arm" if arm is not None else "label" if judged is None else "judge",
            arm=arm,
        )
        self.fitted: list[Any] = []
        self.certificate: StoredCertificate | None = None
        self.no_certificate: str | None = None
        self.line: StoppedLine | None = None
        self._judged = judged
        self._on_item = on_item
        self._models: dict[str, ChatModel] = {}
        self._encoders: dict[str, Any] = {}
        self._started = monotonic()
        self._engine: Engine | None = None
        self._draining: BackgroundDrain | None = None
        self._registered = False

    def listen(self, on_item: Callable[[], None]) -> None:
        """Call ``on_item`` after every model step of an item from now on."""
        self._on_item = on_item

    @classmethod
    def open(
        cls,
        request: LabelRequest,
        *,
        root: Path | None = None,
        flow_run_id: str | None = None,
        on_item: Callable[[], None] | None = None,
    ) -> LabelSession:
        """Return a session on the request's project, strategy and store."""
        work = load_workload(request.project, request.strategy, limit=request.limit, root=root)
        store = open_store(request.store or default_store())
        return cls(request, work, store, flow_run_id=flow_run_id, on_item=on_item)

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise ConfigError("the session has not been started")
        return self._engine

    @property
    def counts(self) -> Counts:
        return self.engine.counts

    async def start(self) -> None:
        """Register the run and what it depends on; open models. Needs a running event loop."""
        await _ensure_weights(self.work.strategy)
        spent = 0.0
        recorded: dict[str, int] = {}
        if self.resumed:
            spent = spent_usd(self.store, self.run.run_id)
            recorded = recorded_rows(self.store, self.run.run_id)
        budget = Budget(self.request.max_cost_usd, spent_usd=spent)
        governors = Governors()
        used = {name: spec for step in self.work.resolved.steps for name, spec in step.models.items()}
        self._models = {
            name: open_model(spec, governors=governors, budget=budget) for name, spec in used.items()
        }
        resources = Resources(
            schema=self.work.folder.spec.labels,
            task=self.work.resolved.task,
            examples=ExampleBank(self._examples(), self._encoder),
            secrets=RunSecrets(self.store.secret("fences")),
            routing=self.work.resolved.routing,
            encoder=self._encoder,
            certificate=None,
            guideline=self.work.folder.guideline(),
            training=self._examples(),
            class_prior=self.work.folder.spec.class_prior,
        )
        recorder = Recorder(self.store, self.run, await asyncio.to_thread(self._asks))
        self._draining = self.store.background_drain()
        self._draining.__enter__()
        self._engine = Engine(
            strategy=self.work.resolved,
            resources=resources,
            models=self._models,
            recorder=recorder,
            may_be_cached=may_be_cached(self.store, self.work.resolved),
            on_item=self._on_item,
            recorded=recorded,
        )
        await asyncio.to_thread(self._register, "resumed" if self.resumed else "started")
        self._registered = True
        await self._engine.preload([*self.work.items, *self.work.gold_items("calibration")])
        recorder.start()

    async def fit(self) -> list[Any]:
        """Label the calibration split (or a sample, without gold) and fit the calibrators."""
        gold = self.work.gold_labels.get("calibration", {})
        population = self.work.gold_items("calibration")
        if not population:
            rng = random.Random(0)
            everything = sorted(self.work.items, key=lambda item: item.id)
            population = rng.sample(everything, min(BATCH_SAMPLE, len(everything)))
        self.fitted = await self.engine.fit(population, gold)
        rows = [fit.row() for fit in self.fitted]
        if rows:
            now = datetime.now(UTC)
            self.store.append(
                "calibrators",
                {
                    "calibrator_id": [row["calibrator_id"] for row in rows],
                    "run_id": [self.run.run_id] * len(rows),
                    "strategy_fp": [self.run.strategy_fp] * len(rows),
                    "method": [row["method"] for row in rows],
                    "n": [row["n"] for row in rows],
                    "params_json": [orjson.dumps(row["params"]).decode() for row in rows],
                    "report_json": [orjson.dumps(row["report"]).decode() for row in rows],
                    "ts": [now] * len(rows),
                },
            )
        if self.work.resolved.routing.mode == "certified" and self.run.purpose != "judge":
            await asyncio.to_thread(self._find_certificate)
        return self.fitted

    def _find_certificate(self) -> None:
        """Give routing the certificate it may rely on, or the reason why there is none."""
        self.certificate, self.no_certificate = find_valid(
            self.store,
            self.run.project,
            self.run.strategy,
            self.work.resolved.snapshot,
            [fit.calibrator_id for fit in self.fitted],
            datetime.now(UTC),
        )
        resources = self.engine.resources
        resources.no_certificate = self.no_certificate
        if self.certificate is not None:
            covered = pool_of(self.store, self.certificate) if self.certificate.finite_pool else None
            resources.certificate = self.certificate.for_routing(covered)

    def _look_at_line(self) -> None:
        """Send the next batch to people if somebody has stopped the line; seen by runs that are under way too."""
        line = stopped_line(self.store, self.run.project)
        self.engine.resources.stopped = None if line is None else f"the line is stopped: {line.why}"
        self.line = line

    async def label_batch(self, index: int) -> Mapping[str, int]:
        """Label one batch; returns how many items got each decision."""
        if self.run.purpose == "label":
            await asyncio.to_thread(self._look_at_line)
        states = await self.engine.run(self.batches[index])
        if self._judged is not None:
            self._judged(states)
        tally = {"auto_accept": 0, "review": 0, "failed": 0}
        for state in states:
            tally[state.decision or "failed"] += 1
        return tally

    async def release(self) -> None:
        """Make what is done durable and close, without ending the run: somebody else goes on with it."""
        await self._close()
        self._event("stopped", reason="handed over")
        self._lock.release()
        self.store.drain_all(timeout_s=30)

    async def finish(self, *, stopped: str | None = None) -> dict[str, Any]:
        """Write what is left, close models, record the end of the run; returns its plain summary."""
        try:
            await self._close()
            summary = self.summary()
            if self._registered:
                self._event("stopped" if stopped else "finished", reason=stopped, summary=summary)
        finally:
            self._lock.release()
        self.store.drain_all(timeout_s=30)
        return summary

    async def _close(self) -> None:
        """Write what is left and let everything go, also when the writing fails."""
        try:
            if self._engine is not None:
                await self._engine.settle()
                await self._engine.recorder.aclose()
        finally:
            for model in self._models.values():
                await model.aclose()
            draining, self._draining = self._draining, None
            if draining is not None:
                await asyncio.to_thread(draining.__exit__, None, None, None)

    def summary(self) -> dict[str, Any]:
        """Return the run's counts, spending and time as JSON values.

        Calls, tokens, cost and time are those of the whole run, whichever processes worked on it; ``done`` and the
        decisions are what this process has seen to, which in the end is every item.
        """
        counts = asdict(self._engine.counts) if self._engine else asdict(Counts())
        return {
            "run_id": self.run.run_id,
            "project": self.run.project,
            "strategy": self.run.strategy,
            "strategy_fp": self.run.strategy_fp,
            "resumed": self.resumed,
            "n_items": len(self.work.items),
            "n_rows_skipped": len(self.work.read.errors),
            **counts,
            **run_totals(self.store, self.run.run_id, seconds_now=monotonic() - self._started),
            "routing_mode": self.work.resolved.routing.mode,
            "calibrators": [fit.headline() for fit in self.fitted],
            "certificate": None if self.certificate is None else self.certificate.headline(),
            "no_certificate": self.no_certificate,
            "line_stopped": None if self.line is None else self.line.why,
        }

    def _asks(self) -> Asks:
        spec = self.work.folder.spec
        queues = self.request.queue
        if queues is None:
            named = self.request.strategy in (None, spec.default_strategy)
            queues = self.request.repeat == 0 and (named or self.work.strategy.name == spec.default_strategy)
        queues = queues and self.run.purpose == "label"
        return Asks.of(self.store, self.run.project, spec.review, queues=queues)

    def _examples(self) -> list[Example]:
        labels = self.work.gold_labels.get("examples", {})
        return [Example(i.id, i.text, labels[i.id]) for i in self.work.gold_items("examples")]

    def _encoder(self, name: str) -> Any:
        if name not in self._encoders:
            from agents.encoder import open_encoder

            self._encoders[name] = open_encoder("minilm" if name == "minilm" else "tfidf")
        return self._encoders[name]

    def _register(self, event: str) -> None:
        """Store the project, strategy, items and gold this run depends on; each content once."""
        now = datetime.now(UTC)
        known = self.store.query(
            "SELECT (SELECT count(*) FROM projects WHERE project_fp = ?) AS p,"
            " (SELECT count(*) FROM strategies WHERE strategy_fp = ?) AS s",
            [self.run.project_fp, self.run.strategy_fp],
            fresh=True,
        ).to_pylist()[0]
        tables: dict[str, dict[str, Sequence[Any]]] = {}
        if not known["p"]:
            tables["projects"] = {
                "project_fp": [self.run.project_fp],
                "project": [self.run.project],
                "spec_json": [orjson.dumps(self.work.folder.spec.model_dump(mode="json")).decode()],
                "ts": [now],
            }
        if not known["s"]:
            tables["strategies"] = {
                "strategy_fp": [self.run.strategy_fp],
                "project": [self.run.project],
                "strategy": [self.run.strategy],
                "spec_json": [orjson.dumps(self.work.resolved.snapshot).decode()],
                "ts": [now],
            }
        tables |= self._new_items(now)
        if tables:
            self.store.append_many(tables)
        self._event(event)

    def _new_items(self, now: datetime) -> dict[str, dict[str, Sequence[Any]]]:
        from agents.run.register import gold_rows, item_rows, read_error_rows

        first = not self.resumed
        return {
            **item_rows(self.store, self.run.project, self.work, now),
            **gold_rows(self.store, self.run.project, self.work, now),
            **(read_error_rows(self.work, now) if first else {}),
        }

    def _event(
        self, event: str, *, reason: str | None = None, summary: Mapping[str, Any] | None = None
    ) -> None:
        self.store.append(
            "runs",
            {
                "run_id": [self.run.run_id],
                "ts": [datetime.now(UTC)],
                "event": [event],
                "project": [self.run.project],
                "project_fp": [self.run.project_fp],
                "strategy": [self.run.strategy],
                "strategy_fp": [self.run.strategy_fp],
                "n_items": [len(self.work.items)],
                "repeat_idx": [self.run.repeat_idx],
                "orchestrated": [self.run.flow_run_id is not None],
                "flow_run_id": [self.run.flow_run_id],
                "params_json": [params_json(self.work, self.params)],
                "summary_json": [orjson.dumps(summary).decode() if summary is not None else None],
                "reason": [reason],
            },
        )


def _new_run_id() -> str:
    """Return a sortable, unguessable run id."""
    return f"r{datetime.now(UTC):%Y%m%d-%H%M%S}-{token.token_hex(3)}"


async def _ensure_weights(strategy: Strategy) -> None:
    """Fetch embedded weights that are not here yet, with a progress bar on stderr."""
    from rich.console import Console

    from agents.models.weights import needed_by, pull

    for spec in strategy.models.values():
        artifact = needed_by(spec)
        if artifact is not None:
            await asyncio.to_thread(pull, artifact, console=Console(stderr=True))
