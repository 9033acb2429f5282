import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest

DIGEST = str(Digest.of(b"x"))
PLAIN = {"mediaType": "a/b", "digest": DIGEST, "size": 1}


@given(
    st.binary(max_size=64),
    st.dictionaries(st.text(), st.text()),
    st.text(),
    st.lists(st.text()),
    st.none() | st.binary(min_size=1, max_size=8),
)
def test_descriptor_decode_and_encode_are_inverses(content, annotations, artifact_type, urls, data):
    digest = Digest.of(content)
    descriptor = Descriptor(
        media.LAYER, digest, len(content), annotations, artifact_type, tuple(urls), data, {"os": "linux"}
    )
    again = Descriptor.decode(descriptor.encode())
    assert again == descriptor
    assert (again.annotations, again.artifact_type, again.urls, again.data, again.platform) == (
        annotations,
        artifact_type,
        tuple(urls),
        data,
        {"os": "linux"},
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": "1"}, "size"),
        ({"mediaType": None}, "mediaType"),
        ({"mediaType": ""}, "mediaType"),
        ({"digest": 7}, "digest"),
        ({"digest": "sha256:1"}, "digest"),
        ({"annotations": []}, "annotations"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"data": "%"}, "data"),
        ({"data": "\u00e9"}, "data"),
        ({"size": 1 << 63}, "size"),
        ({"data": 5}, "data"),
    ],
)
def test_descriptor_malformed_member_is_named(change, what):
    with pytest.raises(InvalidError, match=what):
        Descriptor.decode({**PLAIN, **change})


def test_descriptor_that_is_no_object_is_refused():
    with pytest.raises(InvalidError, match="layer 3"):
        Descriptor.decode([], "layer 3")


def test_descriptor_equality_ignores_annotations():
    descriptor = Descriptor.of(media.LAYER, b"x")
    assert descriptor == descriptor.annotate(a="b")
    assert descriptor.annotate(a="b").plain().annotations == {}
    assert len({descriptor, descriptor.annotate(a="b")}) == 1
