"""KServe's objects: what a rule looks at is typed, each fault has its place, the rest stays."""

from __future__ import annotations

import os

import pytest

from kitcar.errors import InvalidError
from kitcar.kserve.documents import read_documents
from kitcar.kserve.values import EnvFrom, EnvVar, KeyRef, Objects, UriFormat, decode

SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris-model}
spec:
  predictor:
    minReplicas: 1
    model:
      modelFormat: {name: sklearn}
      storageUri: kit://registry.example.com/team/iris:v1
"""
STORAGE = """
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata: {name: kitops}
spec:
  container:
    name: storage-initializer
    image: ghcr.io/kitops-ml/kitops-kserve:latest
    env:
      - name: KIT_UNPACK_FLAGS
        value: ""
      - name: KIT_USER
        valueFrom: {secretKeyRef: {name: kit-secret, key: KIT_USER, optional: true}}
    envFrom:
      - prefix: P_
        configMapRef: {name: settings}
  supportedUriFormats:
    - prefix: kit://
    - regex: ^oci\\+kit://
"""


def objects(text: str) -> Objects:
    return decode(read_documents(text.encode(), "file.yaml"))


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        objects(text)
    assert caught.value.message.startswith("file.yaml is not valid: ")
    return [str(fault) for fault in caught.value.faults]


def test_decode_service_of_the_documentation_keeps_what_no_rule_looks_at() -> None:
    (service,) = objects(SERVICE).services
    assert (service.name, service.model_format, service.namespace) == ("iris-model", "sklearn", "default")
    assert service.storage_uri == "kit://registry.example.com/team/iris:v1"
    assert service.raw["spec"]["predictor"]["minReplicas"] == 1
    assert service.where == "file.yaml"


def test_decode_service_in_the_older_form_takes_the_format_from_the_member() -> None:
    older = SERVICE.replace("    model:\n      modelFormat: {name: sklearn}\n", "    xgboost:\n")
    (service,) = objects(older).services
    assert (service.model_format, service.storage_uri) == ("xgboost", "kit://registry.example.com/team/iris:v1")


def test_decode_storage_container_reads_every_member_a_rule_needs() -> None:
    (storage,) = objects(STORAGE).containers
    assert storage.formats == (UriFormat(prefix="kit://"), UriFormat(regex=r"^oci\+kit://"))
    assert (storage.disabled, storage.workload_type, storage.multi_model) == (False, "initContainer", False)
    assert storage.container.env == (
        EnvVar("KIT_UNPACK_FLAGS", ""),
        EnvVar("KIT_USER", "", KeyRef("Secret", "kit-secret", "KIT_USER", optional=True)),
    )
    assert storage.container.env_from == (EnvFrom("ConfigMap", "settings", "P_"),)
    assert storage.container.args is None


def test_decode_disabled_stands_at_the_top_level() -> None:
    assert objects(STORAGE + "disabled: true\n").containers[0].disabled


def test_decode_list_is_read_item_by_item() -> None:
    listed = "kind: List\nitems:\n" + "".join(
        "- " + text.strip().replace("\n", "\n  ") + "\n" for text in (SERVICE, STORAGE)
    )
    found = objects(listed)
    assert (len(found.services), len(found.containers)) == (1, 1)


def test_decode_other_kinds_are_left_out() -> None:
    assert objects("kind: Deployment\nspec: [this, is, not, ours]\n") == Objects()


def test_decode_secret_and_config_map_give_their_data() -> None:
    found = objects(
        "kind: Secret\nmetadata: {name: s, namespace: demo}\ndata: {a: aGVsbG8=}\nstringData: {b: plain}\n"
        "---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}\n"
    )
    secret = found.find("Secret", "s", "demo")
    assert secret is not None
    assert secret.data == {"a": "hello", "b": "plain"}
    assert "hello" not in repr(secret)
    assert found.find("Secret", "s", "other") is None
    config = found.find("ConfigMap", "c", "any")
    assert config is not None
    assert config.data == {"k": "v"}


def test_decode_several_faults_are_told_together_with_their_places() -> None:
    told = faults("""
kind: ClusterStorageContainer
metadata: {}
spec:
  container:
    name: storage-initializer
    command: kit
    env:
      - name: PORT
        value: 8080
      - name: NODE
        valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  supportedUriFormats: []
disabled: "no"
""")
    text = "\n".join(told)
    for part in (
        "line 3, column 11: metadata.name: is required",
        "line 7, column 14: spec.container.command: a list of texts was expected",
        "line 10, column 16: spec.container.env.0.value: text was expected, not 8080 (put it in quotes)",
        "spec.container.env.1.valueFrom: fieldRef cannot be read outside a cluster",
        "line 13, column 24: spec.supportedUriFormats: is required",
        "line 14, column 11: disabled: true or false was expected, not 'no'",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("storageUri: kit://registry.example.com/team/iris:v1", "storageUris: []"), "storageUris: cannot be run here"),
        (("storageUri: kit://registry.example.com/team/iris:v1", "storage: {path: x}"), "storage: cannot be run here"),
        (("storageUri: kit://registry.example.com/team/iris:v1", "runtime: x"), "storageUri: is required"),
        (("modelFormat: {name: sklearn}", "modelFormat: {}"), "modelFormat.name: is required"),
        (("metadata: {name: iris-model}", "metadata: {name: 7}"), "metadata.name: text was expected, not 7"),
        (("metadata: {name: iris-model}", "metadata: {name: ../../etc}"), "metadata.name: '../../etc' is no name"),
        (("    model:", "    containers:"), "names no model that can be run here"),
        (("    model:", "    sklearn: {storageUri: x}\n    xgboost:"), "names several models: sklearn, xgboost"),
    ],
)
def test_decode_service_that_cannot_be_run_is_invalid(change: tuple[str, str], says: str) -> None:
    assert any(says in fault for fault in faults(SERVICE.replace(*change)))


def test_decode_secret_that_is_not_base64_is_invalid_and_does_not_show_it() -> None:
    (told,) = faults("kind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}\n")
    assert "is not base64" in told
    assert "hunter2" not in told


def test_decode_secret_keeps_bytes_that_are_no_text() -> None:
    text = b"kind: Secret\nmetadata: {name: s}\ndata: {store: /v8=, text: eA==}\n"
    (entry,) = decode(read_documents(text, "s.yaml")).entries
    assert {key: os.fsencode(value) for key, value in entry.data.items()} == {"store": b"\xfe\xff", "text": b"x"}


def test_decode_object_that_is_no_mapping_is_invalid() -> None:
    assert "an object was expected" in faults("- a\n- b\n")[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("metadata: {name: kitops}", 'metadata: {name: ""}'), "metadata.name: must not be empty"),
        (("metadata: {name: kitops}\nspec:", "metadata: {name: kitops}\nother:"), "spec: is required"),
        (
            ("    envFrom:\n      - prefix: P_\n", "    envFrom: {}\n    other:\n      - prefix: P_\n"),
            "a list was expected",
        ),
        (("configMapRef: {name: settings}", "other: {}"), "secretRef or configMapRef is required"),
    ],
)
def test_decode_storage_container_that_cannot_be_meant_is_invalid(change: tuple[str, str], says: str) -> None:
    assert any(says in fault for fault in faults(STORAGE.replace(*change)))
