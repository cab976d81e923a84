"""Names and passwords: what is accepted, and comparing them in the same time whether or not somebody exists."""

from __future__ import annotations

import base64
import logging
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from labelproof.spec.errors import ConfigError

NAME_MAX = 64
PASSWORD_MIN = 10
PASSWORD_MAX = 1000
AT_ONCE = 2
"""Hashes computed at one time: each takes 64 MiB, and a crowd at the login page must not take the machine."""
_log = logging.getLogger(__name__)


def clean_name(name: str) -> str:
    """Return the name as it is kept; anything but 1-64 letters, digits and ``._@-`` raises ``ConfigError``.

    It begins with a letter or digit: names stand in sheets and commands, where ``-x`` and ``@x`` mean something.
    """
    name = unicodedata.normalize("NFC", name)
    if not _is_name(name):
        raise ConfigError(
            f"{name[:80]!r} is no name for an account: expected 1 to {NAME_MAX} letters, digits or ._@-, "
            "the first one a letter or digit"
        )
    return name


def name_key(name: str) -> str | None:
    """Return what makes a name unique (upper and lower case are one), None when no account can have it."""
    name = unicodedata.normalize("NFC", name)
    return (
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        if _is_name(name)
        else None
    )


def _is_name(name: str) -> bool:
    return (
        1 <= len(name) <= NAME_MAX and _is_letter(name[0]) and all(_is_letter(c) or c in "._@-" for c in name)
    )


def _is_letter(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind[0] == "L" or kind == "Nd"


class Passwords:
    """Argon2 hashes of passwords; thread-safe."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def check(self, name: str, password: str) -> None:
        """Raise ``ConfigError`` when a person may not have this password; the message does not hold it."""
        if len(password) < PASSWORD_MIN:
            raise ConfigError(f"the password is too short: expected at least {PASSWORD_MIN} characters")
        if len(password) > PASSWORD_MAX:
            raise ConfigError(f"the password is too long: expected at most {PASSWORD_MAX} characters")
        if password.strip().casefold() == name.strip().casefold():
            raise ConfigError("the password is the name: expected something others cannot guess")

    def hash(self, password: str) -> str:
        """Return the hash to store; salted, with its parameters in it."""
        with self._turns:
            return self._hasher.hash(_bytes(password))

    def is_right(self, stored: str | None, password: str) -> bool:
        """Return whether the password made this hash; None takes as long as a wrong password, and is False."""
        too_long = len(password) > PASSWORD_MAX
        with self._turns:
            try:
                self._hasher.verify(stored or self._nobody(), _bytes(password[:PASSWORD_MAX]))
            except VerificationError:
                return False
            except InvalidHashError:
                _log.error("a stored password hash is unreadable: set that password again")
                return False
        return stored is not None and not too_long

    def is_dated(self, stored: str) -> bool:
        """Return whether the hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(stored)

    def _nobody(self) -> str:
        """Return a hash that no password has, at the price of a real one."""
        own = self._hasher
        salt, digest = _base64(secrets.token_bytes(own.salt_len)), _base64(secrets.token_bytes(own.hash_len))
        return f"$argon2id$v=19$m={own.memory_cost},t={own.time_cost},p={own.parallelism}${salt}${digest}"


def _bytes(password: str) -> bytes:
    # One password typed on two keyboards may come in two Unicode forms.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")
