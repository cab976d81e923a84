"""The one error tree: a branch per way the caller reacts.

A message says what was expected, what arrived and where; ``hint`` says what to run next. The CLI
prints these in one line and exits 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class LabelproofError(Exception):
    """Root of every error raised on purpose. ``str()`` gives the message, then the hint."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  -> {self.hint}"


class ConfigError(LabelproofError):
    """The user must change a file, a flag or the environment; ``path:line`` and ``key`` say where."""

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        place = str(path) if path is not None else ""
        if place and line is not None:
            place = f"{place}:{line}"
        if key:
            place = f"{place}: {key}" if place else key
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.path = path
        self.line = line
        self.key = key


class ProviderError(LabelproofError):
    """A model provider failed; ``status`` is the HTTP status when there was one."""

    def __init__(self, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class TransientProviderError(ProviderError):
    """Worth another try (429, 5xx, timeout, cut connection); ``retry_after_s`` in seconds if told."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, status=status, hint=hint)
        self.retry_after_s = retry_after_s


class TerminalProviderError(ProviderError):
    """No retry will help: credentials, unknown model, refused request, exhausted quota."""


class OutputError(LabelproofError):
    """The model answered, but not with something the label schema admits; ``raw`` is its answer."""

    def __init__(self, message: str, *, raw: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.raw = raw


class StoreError(LabelproofError):
    """The trace store cannot be read or written."""


class BudgetError(LabelproofError):
    """The run reached ``max_cost_usd``; what is done is stored and the run resumes where it stopped."""


class BugError(LabelproofError):
    """An invariant of ours broke: not the user's fault."""
