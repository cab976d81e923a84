"""The one place that decides which provider answers are worth another try.

Transient: 408, 409, 425, 429, 5xx, broken or unreadable bodies. Terminal for the item: 400, 413,
422 and other 4xx. For the run (``ProviderDown``): refused key, used-up quota, unknown model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from agents.models.protocol import ProviderDown
from labelproof.spec.errors import ProviderError, TerminalProviderError, TransientProviderError

_TRANSIENT = frozenset({408, 409, 425, 429})
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_MODERATION = ("moderation", "flagged", "content_policy", "content_filter")
_MAX_MESSAGE_CHARS = 500
_MAX_WAIT_S = 900.0


def from_status(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    where: str,
    clean: Callable[[str], str],
    key_env: str,
) -> ProviderError:
    """Return the error for a non-2xx answer; ``clean`` takes credentials out of its message."""
    message, codes = _explain(body)
    text = f"{where} answered {status}: {clean(message)[:_MAX_MESSAGE_CHARS]}"
    if status == 402 or codes & _QUOTA:
        return ProviderDown(text, kind="quota", status=status, hint="raise the quota, then resume the run")
    if status in _TRANSIENT or status >= 500:
        wait = retry_after_s(headers, time.time()) if status in (429, 503) else None
        return TransientProviderError(text, status=status, retry_after_s=wait)
    if status == 401 or (status == 403 and not _is_moderation(message)):
        return ProviderDown(
            text,
            kind="auth",
            status=status,
            hint=f"check the key in ${key_env} and what it may use",
        )
    if status == 404:
        return ProviderDown(
            text, kind="model", status=status, hint="check model and base_url in the strategy"
        )
    return TerminalProviderError(text, status=status)


def from_error_body(error: Any, *, where: str, clean: Callable[[str], str], key_env: str) -> ProviderError:
    """Return the error for a 200 answer whose body is an error object, as some gateways send."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    body = orjson.dumps({"error": error})
    return from_status(status, body, {}, where=where, clean=clean, key_env=key_env)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long the server asks to wait, in seconds (0 to 900), None when it does not say.

    Read in this order: ``retry-after-ms``, ``retry-after`` (seconds or HTTP date), then
    ``x-ratelimit-reset*`` (a duration such as ``1m2.5s``, seconds, or a Unix time). ``now`` is a
    Unix time in seconds.
    """
    wait = _number(headers.get("retry-after-ms"))
    if wait is not None:
        return _bounded(wait / 1000.0)
    told = headers.get("retry-after")
    if told:
        wait = _number(told)
        return _bounded(_until(told, now) if wait is None else wait)
    waits = [_bounded(wait) for name in _RESETS if (wait := _reset(headers.get(name), now)) is not None]
    # Only the exhausted bucket matters, but headers do not say which: the longer wait is safe.
    return max(waits, default=None, key=lambda value: value or 0.0)


_RESETS = ("x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")


def _reset(value: str | None, now: float) -> float | None:
    if not value:
        return None
    number = _number(value)
    if number is not None:
        if number > 1e12:  # milliseconds since the epoch
            return number / 1000.0 - now
        return number - now if number > 1e9 else number
    total, digits = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    position = 0
    while position < len(value):
        char = value[position]
        if char.isdigit() or char == ".":
            digits += char
            position += 1
            continue
        unit = "ms" if value.startswith("ms", position) else char
        scale, number = units.get(unit), _number(digits)
        if scale is None or number is None:
            return None
        total += number * scale
        digits = ""
        position += len(unit)
    return None if digits else total


def _until(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, TypeError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def _bounded(wait: float | None) -> float | None:
    return None if wait is None else min(max(wait, 0.0), _MAX_WAIT_S)


def _is_moderation(message: str) -> bool:
    lowered = message.lower()
    return any(word in lowered for word in _MODERATION)


def _explain(body: bytes) -> tuple[str, set[str]]:
    """Return the provider's message and its machine-readable codes."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:_MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip() or "no body", set()
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        codes = {str(error[name]) for name in ("code", "type") if error.get(name)}
        message = error.get("message") or error.get("detail") or error
        return str(message), codes
    return str(error), set()
