"""When to try again and how long to wait first: full jitter, and `Retry-After` up to a limit (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from kitcar.errors import InvalidError, KitcarError, RegistryError

T = TypeVar("T")

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is made and how long is waited in between; all times in seconds.

    The n-th wait is a random part of `base * 2**n`, at most `limit`. A wait that the registry asks for is kept up to
    `retry_after_limit`. With `unanswered` off, a host that has never answered is asked once: its name or port is more
    likely wrong than out of order.
    """

    attempts: int = 5
    base: float = 0.25
    limit: float = 8.0
    retry_after_limit: float = 15.0
    unanswered: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> RetryPolicy:
        """The policy, with as many tries after the first as `KITCAR_RETRIES` says.

        Raises:
            InvalidError: it is no such number.
        """
        text = environ.get("KITCAR_RETRIES", "")
        if not text:
            return cls()
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            raise InvalidError(f"KITCAR_RETRIES is {text!r}", hint="give a whole number below 1000; 0 is never")
        return cls(attempts=int(text) + 1)

    def wait(self, failures: int, retry_after: float | None = None, *, part: float = 1.0) -> float:
        """Seconds to wait after `failures` failures; `part`, between 0 and 1, is the jitter's."""
        backoff = min(self.limit, self.base * 2.0 ** min(failures - 1, 32)) * part
        return backoff if retry_after is None else max(backoff, min(retry_after, self.retry_after_limit))


NEVER = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True)
class Pauser:
    """Waits between attempts; the seams are for tests."""

    policy: RetryPolicy
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def pause(self, failures: int, error: KitcarError) -> None:
        """Waits as the policy says, or raises `error` when it is not transient or was the last allowed."""
        if not error.transient or failures >= self.policy.attempts:
            raise error
        self.wait(failures, error)

    def wait(self, failures: int, error: KitcarError) -> None:
        """Waits as the policy says."""
        retry_after = error.retry_after if isinstance(error, RegistryError) else None
        self.sleep(self.policy.wait(failures, retry_after, part=self.jitter()))

    def run(self, action: Callable[[], T]) -> T:
        """The result of `action`, tried again while its error is transient.

        Raises:
            KitcarError: what the last attempt raised.
        """
        failures = 0
        while True:
            try:
                return action()
            except KitcarError as error:
                failures += 1
                self.pause(failures, error)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait: a number or a date; None where there is none or it is malformed."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:10]), 10**9))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
