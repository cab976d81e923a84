"""Who may take which tasks, and what stands in the way when there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from labelproof.report.numbers import count
from labelproof.review.model import NothingToDo, Reviewer, VoteRole
from labelproof.review.queue._shelves import Shelf
from labelproof.spec.labels import Severity
from labelproof.spec.review import SEVERITIES, Care

Obstacle = Literal["voted", "skills", "limit"]
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """One person about to take a task in a role; ``limited``: severities that they have seen enough of today."""

    person: Reviewer
    role: VoteRole
    limited: frozenset[Severity] = frozenset()

    @classmethod
    def of(cls, person: Reviewer, role: VoteRole, care: Care, seen: Mapping[Severity, int]) -> Taker:
        """Return the view of somebody who saw so many items by severity today.

        Limits, languages and skills are the reviewers': a lead decides what reviewers could not.
        """
        if role == "adjudicator":
            return cls(person=person, role=role)
        reached = (name for name, limit in care.daily_limit.items() if seen.get(name, 0) >= limit)
        return cls(person=person, role=role, limited=frozenset(reached))

    def admits(self, shelf: Shelf) -> bool:
        """Return whether the tasks of a shelf may be handed to this person."""
        return self.obstacle(shelf) is None

    def obstacle(self, shelf: Shelf) -> Obstacle | None:
        """Return what keeps this person from the tasks of a shelf."""
        if self.person.name in shelf.people:
            return "voted"
        if self.role == "adjudicator":
            return None
        if self._lacks_language(shelf) or not shelf.skills <= self.person.skills:
            return "skills"
        return "limit" if shelf.severity in self.limited else None

    def lacks(self, shelf: Shelf) -> Iterator[str]:
        """Yield the skills and the language of a shelf that this person has not."""
        yield from shelf.skills - self.person.skills
        if shelf.language is not None and self._lacks_language(shelf):
            yield shelf.language

    def _lacks_language(self, shelf: Shelf) -> bool:
        languages = self.person.languages
        return bool(languages) and shelf.language is not None and shelf.language not in languages


@dataclass(slots=True, kw_only=True)
class Obstacles:
    """How many tasks one person does not get, and why.

    ``held``: others hold what this person could take; ``own``: in their own hands; the rest is not for them, held or not.
    """

    taker: Taker
    n_held: int = 0
    n_own: int = 0
    by_reason: dict[Obstacle, int] = field(default_factory=lambda: {"voted": 0, "skills": 0, "limit": 0})
    missing: set[str] = field(default_factory=set)

    def count(self, shelf: Shelf, n: int, holder: str | None = None) -> None:
        """Count ``n`` tasks of a shelf; ``holder`` None: nobody holds them, so they were skipped as this person's own."""
        reason = self.taker.obstacle(shelf)
        if holder is not None and holder == self.taker.person.name:
            self.n_own += n
        elif reason is not None:
            self.by_reason[reason] += n
            if reason == "skills":
                self.missing.update(self.taker.lacks(shelf))
        elif holder is None:
            self.n_own += n
        else:
            self.n_held += n

    def verdict(self, n_open: int) -> NothingToDo:
        """Return why there is nothing, by what can change soonest: a lease ends, a day ends, an account is changed."""
        n_voted, n_skills, n_limit = (self.by_reason[name] for name in ("voted", "skills", "limit"))
        own, held = self.n_own, self.n_held
        parts = [
            f"others hold {_tasks(held)} that you could take" if held else "",
            f"you hold {_tasks(own)} yourself" if own else "",
            f"{_tasks(n_limit)} past your daily limit ({self._limited()})" if n_limit else "",
            f"{_tasks(n_skills)} for other skills or languages ({self._missing()})" if n_skills else "",
            f"{_tasks(n_voted)} waiting for somebody else" if n_voted else "",
        ]
        said = "; ".join(part for part in parts if part)
        if held or own:
            return self._nothing("held", said, "They come back when answered or when the lease ends", n_open)
        if n_limit:
            return self._nothing("limit", said, "There are more for you tomorrow (UTC)", n_open)
        if n_skills:
            return self._nothing(
                "skills", said, "A lead can add skills and languages to your account", n_open
            )
        if n_voted:
            return self._nothing("voted", said, "Another person has to look at these", n_open)
        what = (
            "Nothing waits for a decision" if self.taker.role == "adjudicator" else "All tasks are answered"
        )
        return NothingToDo(reason="empty", message=f"{what}.", n_open=n_open)

    @staticmethod
    def _nothing(
        reason: Literal["held", "voted", "skills", "limit"], said: str, hint: str, n_open: int
    ) -> NothingToDo:
        return NothingToDo(reason=reason, message=f"No task for you now: {said}. {hint}.", n_open=n_open)

    def _limited(self) -> str:
        return ", ".join(name for name in reversed(SEVERITIES) if name in self.taker.limited)

    def _missing(self) -> str:
        names = sorted(self.missing)
        return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def _tasks(n: int) -> str:
    return f"{count(n)} task" if n == 1 else f"{count(n)} tasks"
