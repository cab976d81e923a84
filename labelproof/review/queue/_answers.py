"""What each person has answered, by time."""

from __future__ import annotations

from datetime import datetime

from sortedcontainers import SortedList

from labelproof.review.model import Vote, VoteRole


class Answers:
    """Current answers of each person in each role, withdrawn ones left out, oldest first."""

    def __init__(self) -> None:
        self._by_person: dict[tuple[str, VoteRole], SortedList[tuple[datetime, str, Vote]]] = {}

    def replace(self, old: Vote | None, new: Vote) -> None:
        """Put ``new`` in the place of ``old``, which is of the same person and role."""
        mine = self._by_person.setdefault((new.annotator, new.role), SortedList())
        if old is not None and old.answer != "withdrawn":
            mine.remove((old.at, old.vote_id, old))
        if new.answer != "withdrawn":
            mine.add((new.at, new.vote_id, new))

    def latest(self, person: str, role: VoteRole) -> Vote | None:
        """Return the answer given last."""
        mine = self._by_person.get((person, role))
        return mine[-1][2] if mine else None

    def count(self, person: str, role: VoteRole) -> int:
        """Return the number of answers."""
        return len(self._by_person.get((person, role), ()))

    def since(self, person: str, role: VoteRole, start: datetime) -> list[Vote]:
        """Return answers given at ``start`` or later, oldest first."""
        mine = self._by_person.get((person, role))
        if not mine:
            return []
        return [vote for _, _, vote in mine.islice(mine.bisect_left((start,)))]  # type: ignore[arg-type]  # a prefix sorts before
