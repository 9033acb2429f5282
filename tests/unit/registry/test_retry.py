from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import NotFoundError, RegistryError, TransportError
from kitcar.registry.retry import NEVER, Pauser, RetryPolicy, parse_retry_after


class Naps:
    """Remembers how long it should have slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_wait_is_never_longer_than_its_limits(failures: int, part: float, asked: float | None) -> None:
    policy = RetryPolicy()
    wait = policy.wait(failures, asked, part=part)
    assert 0 <= wait <= max(policy.limit, policy.retry_after_limit if asked is not None else 0)


def test_wait_without_retry_after_doubles_up_to_the_limit() -> None:
    policy = RetryPolicy(base=0.5, limit=3)
    assert [policy.wait(n) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]


@pytest.mark.parametrize(("asked", "expected"), [(0.0, 0.25), (7.0, 7.0), (3600.0, 15.0)])
def test_wait_with_retry_after_keeps_to_it_up_to_the_limit(asked: float, expected: float) -> None:
    assert RetryPolicy().wait(1, asked) == expected


def test_run_with_transient_errors_tries_again_until_it_works() -> None:
    naps, left = Naps(), [TransportError("cut"), RegistryError("busy", status=503, transient=True, retry_after=2)]

    def action() -> str:
        if left:
            raise left.pop(0)
        return "done"

    assert Pauser(RetryPolicy(), naps, lambda: 0.5).run(action) == "done"
    assert naps.seconds == [0.125, 2]


@pytest.mark.parametrize(
    ("error", "policy", "naps"),
    [
        (NotFoundError("gone"), RetryPolicy(), 0),
        (TransportError("bad certificate", transient=False), RetryPolicy(), 0),
        (TransportError("cut"), RetryPolicy(attempts=3), 2),
        (TransportError("cut"), NEVER, 0),
    ],
)
def test_run_that_cannot_succeed_raises_the_last_error(error: Exception, policy: RetryPolicy, naps: int) -> None:
    slept = Naps()

    def action() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        Pauser(policy, slept).run(action)
    assert caught.value is error
    assert len(slept.seconds) == naps


NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 12:00:30 -0000", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_parse_retry_after_reads_numbers_and_dates(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_parse_retry_after_of_any_text_gives_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("text", ["Mon, 99999999999 Jan 2026 00:00:00 GMT", "Mon, 1 Jan 99999999999 0:0:0 GMT"])
def test_retry_after_with_a_number_beyond_all_dates_is_none(text: str) -> None:
    assert parse_retry_after(text) is None
