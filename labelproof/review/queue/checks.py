"""When a reviewer meets hidden gold, and which: tasks with a known answer that measure the reviewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from hashlib import blake2b

from labelproof.spec.review import Checks


def is_check_due(checks: Checks, n_answered: int, n_checks: int, draw: float) -> bool:
    """Return whether a reviewer's next task is hidden gold.

    ``n_answered``: tasks this reviewer answered, checks among them; ``n_checks``: checks made for this reviewer, answered
    or in hand, so that a task loaded ahead does not make one too many; ``draw``: uniform on [0, 1). The first
    ``checks.first`` tasks are checks, later ones with probability ``checks.rate_prob``.
    """
    if n_answered < checks.first and n_checks < checks.first:
        return True
    return draw < checks.rate_prob


def pick_check(
    candidates: Sequence[tuple[str, str]], done: Container[str], key: str
) -> tuple[str, str] | None:
    """Return the (item id, gold label) to put before a reviewer next, None when all of them are done.

    ``done``: item ids that this reviewer had as checks or otherwise knows the answer of; ``key``: seeds the choice, the
    same key and ``done`` give the same pick whatever the order of ``candidates``. The label that was met least among
    ``done`` comes first, so that rare labels are measured too; ties and the item within a label are drawn by hash.
    """
    met: Counter[str] = Counter()
    left: dict[str, list[str]] = {}
    for item_id, label in candidates:
        if item_id in done:
            met[label] += 1
        else:
            left.setdefault(label, []).append(item_id)
    if not left:
        return None
    label = min(left, key=lambda name: (met[name], _draw(key, "label", name)))
    return min(left[label], key=lambda item_id: _draw(key, "item", item_id)), label


def _draw(key: str, what: str, value: str) -> tuple[bytes, str]:
    """Return a pseudo-random place; ``value`` itself only breaks ties."""
    text = f"{len(key)}:{key}{what}:{value}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8, person=b"lp.check").digest(), value
