"""A new project that starts from what worked elsewhere: the strategy, its prompts and the rule of judging changes.

Labels, guideline and gold are the new project's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from labelproof.report.playbook.entries import Entry, entries_of, find_entry
from labelproof.report.playbook.reusable import Reusable, policy_for
from labelproof.report.playbook.text import amount, unit
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.spec.strategy import ModelStep, RouteStep, Strategy
from labelproof.store import TraceStore
from prompts import load_template

PLAYBOOK = "playbook:"
NAME = "champion"
BASELINE = "baseline"
"""The plain strategy of a new project, kept beside the one that was taken over, to measure it against."""
_NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new project takes over. ``files``: path in the project folder → text; ``experiments``: text for project.yaml.

    ``copied`` and ``to_do``: for people, what came along and what they must look at or write.
    """

    source: str
    files: Mapping[str, str]
    experiments: str
    copied: tuple[str, ...]
    to_do: tuple[str, ...]

    def into(self, rendered: Mapping[str, str]) -> dict[str, str]:
        """Return a new project's files with this start: its plain strategy becomes the baseline."""
        champion = f"strategies/{NAME}.yaml"
        plain_one = _NAME_LINE.sub(f"name: {BASELINE}", rendered[champion], count=1)
        project = rendered["project.yaml"] + (f"\n{self.experiments}" if self.experiments else "")
        return {
            **rendered,
            f"strategies/{BASELINE}.yaml": plain_one,
            **self.files,
            "project.yaml": project,
        }


def start_from(ref: str, schema: LabelSchema, open_store: Callable[[], TraceStore]) -> Start:
    """Return what `init --from` takes over from `playbook:ENTRY` or `PROJECT[/STRATEGY]`; the store is opened for the first."""
    if ref.startswith(PLAYBOOK):
        with open_store() as store:
            entry = find_entry(entries_of(store), ref.removeprefix(PLAYBOOK))
        return _from_entry(entry, schema)
    folder, strategy = _project_and_strategy(ref)
    return _from_project(folder, strategy, schema)


def _from_entry(entry: Entry, schema: LabelSchema) -> Start:
    if entry.reusable is None:
        raise ConfigError(
            f"entry {entry.entry_id} cannot be started from: {entry.not_reusable or 'no strategy is stored with it'}",
            hint="labelproof playbook list --entries shows others",
        )
    origin = (
        f"playbook entry {entry.entry_id} ({entry.kind}; {_plain(entry.project)}, {_plain(entry.origin)})"
    )
    effect = f"{amount(entry.effect, entry.metric)} {unit(entry.metric)} against {_plain(entry.strategy_a)}"
    said = (
        f"From {origin}.",
        f"There it was {effect} on {entry.n_items} items: measure it here before you rely on it.",
    )
    found = entry.reusable
    policy = None if entry.policy is None else ExperimentPolicy.model_validate(entry.policy)
    return _start(origin, found, found.text(NAME, said), policy, schema)


def _from_project(folder: ProjectFolder, name: str, schema: LabelSchema) -> Start:
    strategy = folder.strategy(name)
    origin = f"strategy {strategy.name} of project {folder.name}"
    found, dropped = _of_file(folder, strategy)
    said = f"From {origin}."
    if dropped:
        text = found.text(NAME, (said,))
    else:  # the file as its author wrote it, comments and all
        raw = (
            folder.read(f"strategies/{name}.yaml")
            if not name.endswith((".yaml", ".yml"))
            else folder.read(name)
        )
        text = f"# {said}\n{_NAME_LINE.sub(f'name: {NAME}', raw, count=1)}"
    return _start(origin, found, text, folder.spec.experiments, schema)


def _start(
    origin: str, found: Reusable, text: str, policy: ExperimentPolicy | None, schema: LabelSchema
) -> Start:
    kept: dict[str, Any] = {}
    left: list[str] = []
    if policy is not None:
        kept, left = policy_for(policy, schema)
    experiments = ""
    if kept:
        body = yaml.safe_dump({"experiments": kept}, sort_keys=False, allow_unicode=True, width=110)
        experiments = f"# Taken over from {origin}.\n{body}"
    files = {f"strategies/{NAME}.yaml": text}
    files |= {f"prompts/{name}.md": prompt for name, prompt in found.prompts.items()}
    copied = [f"strategies/{NAME}.yaml: {origin}"]
    copied += [f"prompts/{name}.md" for name in found.prompts]
    if kept:
        copied.append(f"project.yaml: experiments ({', '.join(kept)})")
    return Start(
        source=origin,
        files=files,
        experiments=experiments,
        copied=tuple(copied),
        to_do=(
            "project.yaml: labels and their descriptions",
            "guideline.md: what each label means here",
            *found.notes,
            *left,
        ),
    )


def _of_file(folder: ProjectFolder, strategy: Strategy) -> tuple[Reusable, bool]:
    """Return a strategy file with the project's own prompts, and whether something of it could not go along."""
    prompts: dict[str, str] = {}
    notes: list[str] = []
    for step in strategy.steps:
        if isinstance(step, ModelStep):
            template = load_template(step.prompt, [folder.folder / "prompts"])
            if template.path.parent == folder.folder / "prompts":
                prompts[template.name] = template.text
                notes.append(f"prompts/{template.name}.md was written for {folder.name}: read it")
    steps = []
    dropped: list[str] = []
    for step in strategy.steps:
        data = step.model_dump(mode="json", exclude_unset=True)
        if isinstance(step, RouteStep):
            dropped = [key for key in ("per_class_alpha", "always_review") if data.pop(key, None)]
        steps.append(data)
    if dropped:
        notes.append(f"{' and '.join(dropped)} of its route step name labels of {folder.name}: left out")
    data = {**strategy.model_dump(mode="json", exclude_unset=True), "steps": steps}
    return Reusable(strategy=Strategy.model_validate(data), prompts=prompts, notes=tuple(notes)), bool(
        dropped
    )


def _project_and_strategy(ref: str) -> tuple[ProjectFolder, str]:
    try:
        folder = find_project(ref)
    except ConfigError as error:
        project, slash, strategy = ref.rpartition("/")
        if not slash:
            raise
        try:
            folder = find_project(project)
        except ConfigError:
            raise error from None
        return folder, strategy
    return folder, folder.spec.default_strategy


def _plain(text: str) -> str:
    """Return another team's word as it may stand in a comment: one line, nothing hidden."""
    return " ".join("".join(char if char.isprintable() else "?" for char in text).split())
