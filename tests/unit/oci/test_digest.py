import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, KitcarError, UnsupportedError
from kitcar.oci.digest import Digest


@given(st.binary(), st.sampled_from(["sha256", "sha384", "sha512"]))
def test_digest_parse_and_str_are_inverses(data, algorithm):
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.encoded == hashlib.new(algorithm, data).hexdigest()


@given(st.text())
def test_digest_any_text_gives_a_value_or_our_error(text):
    with contextlib.suppress(KitcarError):
        assert str(Digest.parse(text)) == text


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", "sha256:00", "sha256:" + "G" * 64, "sha256:" + "A" * 64])
def test_digest_malformed_is_refused(text):
    with pytest.raises(InvalidError):
        Digest.parse(text)


def test_digest_unknown_algorithm_is_unsupported():
    with pytest.raises(UnsupportedError, match="md5"):
        Digest.parse("md5:" + "0" * 32)


def test_digest_hasher_continues_to_the_same_digest():
    digest = Digest.of(b"kitcar")
    hasher = digest.hasher()
    hasher.update(b"kit")
    hasher.update(b"car")
    assert Digest.from_hasher(hasher) == digest
    assert digest.short == digest.encoded[:12]
