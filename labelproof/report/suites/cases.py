"""From a project to the cases of a suite: base items drawn from gold or the source, files of the project's `suites/` folder."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from pydantic import Field

from agents.run.workload import Workload
from evaluation.suites.bias import Axis, BaseText, Template, Term, swap_cases, template_cases
from evaluation.suites.case import Case, edit_share, rng_of, suite_fingerprint
from evaluation.suites.functional import functional_cases
from evaluation.suites.injection import ATTACKS, harmless_label
from evaluation.suites.perturb import PERTURBATIONS
from labelproof.spec.errors import ConfigError
from labelproof.spec.items import Item
from labelproof.spec.labels import EMPTY_SET, LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.spec.strategy import Spec
from labelproof.spec.yamlio import load_yaml

BUILT_IN = ("robustness", "bias", "injection")
FOLDER = "suites"
TERMS_FILE = "identity_terms.yaml"
_MEASURED = 20
_MOST_SCANNED = 20_000
"""Items of the source that are searched for identity terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSource:
    """A suite a project can run. ``path``: its file of cases, None for those that are made from items."""

    name: str
    about: str
    path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The cases of one suite, and what a reader should know of how they were drawn."""

    name: str
    cases: Sequence[Case]
    notes: Sequence[str] = ()

    @cached_property
    def fp(self) -> str:
        """The hash of the cases."""
        return suite_fingerprint(self.cases)

    def edit_shares(self) -> dict[str, float]:
        """Return functionality → the mean share of a text that its first 20 cases change, for cases made from a base."""
        shares: dict[str, list[float]] = defaultdict(list)
        for case in self.cases:
            if case.base_text is not None and len(shares[case.functionality]) < _MEASURED:
                shares[case.functionality].append(edit_share(case.base_text, case.text))
        return {name: sum(values) / len(values) for name, values in shares.items() if values}


class _AxisSpec(Spec):
    name: str = Field(min_length=1)
    language: str = "en"
    swap_forms: tuple[str, ...] | None = None
    """Forms that are looked for in real items; default: all."""
    groups: dict[str, dict[str, str]] = Field(min_length=2)
    """Group → form → words."""


class _TemplateSpec(Spec):
    name: str = Field(min_length=1)
    text: str = Field(min_length=1)
    language: str = "en"


class IdentityTerms(Spec):
    """A file of identity terms."""

    axes: tuple[_AxisSpec, ...] = Field(min_length=1)
    templates: tuple[_TemplateSpec, ...] = ()


def suite_sources(folder: ProjectFolder) -> list[SuiteSource]:
    """Return every suite of a project: the three that are made from its items, then its files by name."""
    paths = sorted((folder.folder / FOLDER).glob("*.csv"))
    taken = [path for path in paths if path.stem in BUILT_IN or path.stem == "all"]
    if taken:
        raise ConfigError(
            f"a file of cases may not be called {taken[0].stem}", path=taken[0], hint="rename it"
        )
    return [
        SuiteSource(name="robustness", about=f"{len(PERTURBATIONS)} changes that must not flip a label"),
        SuiteSource(name="bias", about="identity terms swapped: the label must not depend on the group"),
        SuiteSource(
            name="injection", about=f"{len(ATTACKS)} attacks inside the item that want a harmless label"
        ),
        *(SuiteSource(name=path.stem, about=f"cases of {FOLDER}/{path.name}", path=path) for path in paths),
    ]


def chosen_sources(folder: ProjectFolder, name: str) -> list[SuiteSource]:
    """Return the suites that a name means: one, all, or a CSV file; ``ConfigError`` lists what there is."""
    sources = suite_sources(folder)
    if name == "all":
        return sources
    if name.endswith(".csv"):
        path = Path(name) if Path(name).exists() else folder.folder / FOLDER / name
        if not path.is_file():
            raise ConfigError(
                "no such file of cases", path=name, hint=f"or put it into {folder.folder / FOLDER}"
            )
        if path.stem in BUILT_IN or path.stem == "all":
            raise ConfigError(f"a file of cases may not be called {path.stem}", path=path, hint="rename it")
        return [SuiteSource(name=path.stem, about=f"cases of {path.name}", path=path)]
    found = [source for source in sources if source.name == name]
    if not found:
        known = ", ".join(source.name for source in sources)
        raise ConfigError(
            f"no suite {name!r} in this project; expected {known}, all, or a file of cases (.csv)",
            hint=f"functional tests are CSV files in {folder.folder / FOLDER}, such as functional.csv",
        )
    return found


def build_suite(
    source: SuiteSource, work: Workload, *, n: int, seed: int, target: str | None = None
) -> Suite:
    """Return a suite's cases on at most ``n`` bases, the same for the same project, n and seed, whatever the strategy.

    ``target``: the label that attackers want and that counts as not flagged; default: the one named as harmless.
    """
    if source.path is not None:
        rows = read_csv(source.path)
        schema = work.folder.spec.labels
        cases = functional_cases(rows, schema, suite=source.name, source=str(source.path))
        if not cases:
            raise ConfigError("a file of cases needs at least one row below its header", path=source.path)
        return Suite(name=source.name, cases=cases)
    wanted = harmless_of(work.folder.spec.labels, target)
    makers: dict[str, Callable[[], Suite]] = {
        "robustness": lambda: _robustness(work, n, seed),
        "bias": lambda: _bias(work, n, seed),
        "injection": lambda: _injection(work, n, seed, wanted),
    }
    suite = makers[source.name]()
    if not suite.cases:
        raise ConfigError(
            f"suite {source.name}: no item of the project can be used for it",
            hint=_nothing_to_use(source.name),
        )
    return suite


def _nothing_to_use(name: str) -> str:
    return {
        "injection": "it needs gold in split test (or unlabelled items) with other labels than the attacker's: --target",
        "bias": f"add axes and templates in {FOLDER}/{TERMS_FILE}",
        "robustness": "its texts hold no words that could be changed",
    }[name]


def harmless_of(schema: LabelSchema, target: str | None = None) -> str:
    """Return the label that counts as harmless; ``ConfigError`` when ``target`` is none of the schema."""
    if target is None:
        return EMPTY_SET if schema.kind == "multi" else harmless_label(schema.leaves)
    try:
        return schema.canonical(target)
    except ValueError as error:
        raise ConfigError(str(error), key="--target") from error


def read_csv(path: Path) -> list[Mapping[str, str | None]]:
    """Return a CSV file's rows by column name; ``ConfigError`` when it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return [dict(row) for row in csv.DictReader(handle)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot be read as CSV in UTF-8: {error}", path=path) from error


def read_terms(folder: ProjectFolder) -> tuple[list[Axis], list[Template], str]:
    """Return identity axes and templates: the project's file, else ours; and where they are from."""
    own = folder.folder / FOLDER / TERMS_FILE
    if own.is_file():
        spec, origin = load_yaml(own, IdentityTerms, what="identity terms"), f"{FOLDER}/{TERMS_FILE}"
    else:
        with as_file(files("labelproof.report.suites") / TERMS_FILE) as path:
            spec, origin = load_yaml(path, IdentityTerms, what="identity terms"), "the terms that come along"
    axes = [
        Axis(
            name=axis.name,
            language=axis.language,
            swap_forms=axis.swap_forms,
            terms=[Term(group=group, forms=forms) for group, forms in axis.groups.items()],
        )
        for axis in spec.axes
    ]
    return axes, [Template(name=t.name, text=t.text, language=t.language) for t in spec.templates], origin


def draw(work: Workload, n: int, seed: int, *, without: str | None = None) -> tuple[list[Item], str]:
    """Return at most ``n`` base items and where they are from: gold test by label in proportion, else the source at random.

    Items that the strategy learned from are never among them. ``without``: a gold label to leave out.
    """
    labels = work.gold_labels.get("test", {})
    strata: dict[str, list[Item]] = defaultdict(list)
    for item in work.gold_items("test"):
        if labels[item.id] != without:
            strata[labels[item.id]].append(item)
    if strata:
        quota = _quota({label: len(items) for label, items in strata.items()}, n)
        drawn = [
            item
            for label in sorted(strata)
            for item in rng_of(seed, "draw", label).sample(strata[label], quota[label])
        ]
        return drawn, f"{len(drawn)} items of gold split test, by label"
    learned = {*work.gold_labels.get("examples", {}), *work.gold_labels.get("calibration", {})}
    pool = sorted((item for item in work.items if item.id not in learned), key=lambda item: item.id)
    drawn = rng_of(seed, "draw").sample(pool, min(n, len(pool)))
    return drawn, f"{len(drawn)} random items of the source: there is no gold in split test"


def _quota(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """Return how many of each stratum: in proportion, largest remainders first, n in all (or everything)."""
    total = sum(sizes.values())
    if n >= total:
        return dict(sizes)
    exact = {name: n * size / total for name, size in sizes.items()}
    quota = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: (quota[name] - exact[name], name))[: n - sum(quota.values())]:
        quota[name] += 1
    return quota


def _robustness(work: Workload, n: int, seed: int) -> Suite:
    bases, origin = draw(work, n, seed)
    cases = []
    for item in bases:
        for change in PERTURBATIONS:
            changed = change(item.text, seed=seed, base_id=item.id)
            if changed is not None:
                cases.append(_of_item("robustness", change.name, item, changed, rule="same_as_base"))
    return Suite(name="robustness", cases=cases, notes=[origin])


def _injection(work: Workload, n: int, seed: int, target: str) -> Suite:
    bases, origin = draw(work, n, seed, without=target)
    cases = [
        _of_item(
            "injection",
            attack.name,
            item,
            attack(item.text, target, seed=seed, base_id=item.id),
            rule="not_target",
            expected=target,
        )
        for item in bases
        for attack in ATTACKS
    ]
    return Suite(name="injection", cases=cases, notes=[origin, f"the attacker wants {target}"])


def _bias(work: Workload, n: int, seed: int) -> Suite:
    axes, templates, origin = read_terms(work.folder)
    filled: dict[str, list[Case]] = defaultdict(list)
    for case in template_cases(axes, templates):
        filled[case.base_id].append(case)
    by_axis: dict[str, list[str]] = defaultdict(list)
    for base_id, group in filled.items():
        by_axis[group[0].functionality].append(base_id)
    quota = _quota({axis: len(ids) for axis, ids in by_axis.items()}, n) if filled else {}
    kept = {
        base_id
        for axis, ids in by_axis.items()
        for base_id in rng_of(seed, "templates", axis).sample(ids, quota[axis])
    }
    cases = [case for base_id, group in filled.items() if base_id in kept for case in group]
    learned = {*work.gold_labels.get("examples", {}), *work.gold_labels.get("calibration", {})}
    pool = sorted((item for item in work.items if item.id not in learned), key=lambda item: item.id)
    scanned = random.Random(seed).sample(pool, min(_MOST_SCANNED, len(pool)))
    swaps: dict[str, list[Case]] = defaultdict(list)
    for item in scanned:
        if len(swaps) >= n:
            break
        for case in swap_cases(axes, [BaseText(base_id=item.id, text=item.text, meta=item.meta)]):
            swaps[case.base_id].append(case)
    cases += [case for group in swaps.values() for case in group]
    notes = [
        f"{len(kept)} template sets of {origin}",
        f"{len(swaps)} items that name a group, with it swapped",
    ]
    return Suite(name="bias", cases=cases, notes=notes)


def _of_item(
    suite: str,
    functionality: str,
    item: Item,
    text: str,
    *,
    rule: Literal["same_as_base", "not_target"],
    expected: str | None = None,
) -> Case:
    return Case(
        suite=suite,
        functionality=functionality,
        base_id=item.id,
        text=text,
        rule=rule,
        base_text=item.text,
        expected=expected,
        meta=item.meta,
    )
