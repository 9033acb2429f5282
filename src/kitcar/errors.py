"""Every error kitcar raises.

An error says what is wrong (`str(error)`), what to do (`hint`) and whether trying again may help (`transient`). A class
exists only where a caller would catch it. Foreign exceptions are mapped to these at the door that imports the library.
"""

from __future__ import annotations

from dataclasses import dataclass


class KitcarError(Exception):
    """Base of all errors: one sentence, an optional hint, and whether a retry may succeed."""

    def __init__(self, message: str, *, hint: str | None = None, transient: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.transient = transient


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a document; `line` and `column` count from 1, 0 means unknown."""

    message: str
    line: int = 0
    column: int = 0
    hint: str | None = None

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        where = f"line {self.line}{column}: " if self.line else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{hint}"


class InvalidError(KitcarError):
    """A reference, Kitfile, URI, manifest or argument is malformed; `faults` lists all that one document has."""

    def __init__(self, message: str, *, faults: tuple[Fault, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.faults = faults

    @property
    def untold(self) -> tuple[Fault, ...]:
        """The faults that the message does not tell already."""
        alone = len(self.faults) == 1 and not self.faults[0].hint and self.faults[0].message in self.message
        return () if alone else tuple(fault for fault in self.faults if str(fault) not in self.message)


class NotFoundError(KitcarError):
    """What was asked for does not exist."""


class ExistsError(KitcarError):
    """The destination holds something else, and replacing it was not asked for."""


class UnsupportedError(KitcarError):
    """The other side, or this version, cannot do what was asked."""


class IntegrityError(KitcarError):
    """Bytes do not have the digest or size they were promised with."""

    def __init__(
        self, message: str, *, expected: str, actual: str, hint: str | None = None, transient: bool = False
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.expected = expected
        self.actual = actual


class UnsafePathError(KitcarError):
    """A name would leave the destination, pass through a link, or is not an ordinary file or directory."""


class CancelledError(KitcarError):
    """The work was given up because a sibling failed or the user asked to stop."""


class TransportError(KitcarError):
    """The network failed: refused, cut, timed out. Trying again may help."""

    def __init__(self, message: str, *, hint: str | None = None, transient: bool = True) -> None:
        super().__init__(message, hint=hint, transient=transient)


class RegistryError(KitcarError):
    """A registry answered with an error; `status` is the HTTP status, `code` the distribution specification's code."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        hint: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, transient=transient)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class AuthError(RegistryError):
    """The registry refused the credentials, or there were none."""


class VerificationError(KitcarError):
    """Nobody vouches for the artifact as the policy asks."""
