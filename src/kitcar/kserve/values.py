"""KServe's objects as values: typed where a rule looks, everything else kept as it came in `raw`.

ClusterStorageContainer (serving.kserve.io/v1alpha1), InferenceService (serving.kserve.io/v1beta1), and of the core API
a container, its environment, Secret and ConfigMap.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitcar.errors import Fault, InvalidError
from kitcar.kserve.documents import Document, Path

INIT_CONTAINER = "initContainer"
MODEL_FORMATS = (
    "sklearn",
    "xgboost",
    "lightgbm",
    "tensorflow",
    "pytorch",
    "onnx",
    "triton",
    "huggingface",
    "pmml",
    "paddle",
)
"""The members of a predictor that name a model format in the older form, `predictor: {sklearn: {storageUri: …}}`."""

_KINDS = ("Secret", "ConfigMap")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
_NAME_LIMIT = 253


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Where an environment variable's value stands: a key of a Secret or ConfigMap."""

    kind: str
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One environment variable of a container; a `KeyRef` wins over the empty value."""

    name: str
    value: str = ""
    source: KeyRef | None = None


@dataclass(frozen=True, slots=True)
class EnvFrom:
    """All keys of a Secret or ConfigMap as environment variables, each with a prefix."""

    kind: str
    name: str
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod; `command` and `args` are None where the image's own are meant."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()


@dataclass(frozen=True, slots=True)
class UriFormat:
    """What a storage container claims: a prefix or else an RE2 expression; with both, KServe looks at the prefix alone."""

    prefix: str = ""
    regex: str = ""

    def __str__(self) -> str:
        return f"prefix {self.prefix}" if self.prefix else f"regex {self.regex}"


@dataclass(frozen=True, slots=True)
class StorageContainer:
    """A ClusterStorageContainer."""

    name: str
    container: Container
    formats: tuple[UriFormat, ...]
    disabled: bool = False
    workload_type: str = INIT_CONTAINER
    multi_model: bool = False
    where: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class InferenceService:
    """An InferenceService, as far as its predictor's model goes."""

    name: str
    model_format: str
    storage_uri: str
    namespace: str = "default"
    storage_container: str = ""
    env: tuple[EnvVar, ...] = ()
    where: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Entries:
    """The data of a Secret or ConfigMap."""

    kind: str
    name: str
    namespace: str
    data: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Objects:
    """What a set of files holds; kinds that no rule looks at are left out."""

    services: tuple[InferenceService, ...] = ()
    containers: tuple[StorageContainer, ...] = ()
    entries: tuple[Entries, ...] = ()

    def find(self, kind: str, name: str, namespace: str) -> Entries | None:
        """The Secret or ConfigMap of that name; one without a namespace stands for any."""
        for entry in self.entries:
            if (entry.kind, entry.name) == (kind, name) and entry.namespace in ("", namespace):
                return entry
        return None


def decode(documents: Iterable[Document]) -> Objects:
    """Reads all objects; a `List` is read item by item.

    Raises:
        InvalidError: an object that a rule looks at is malformed; all faults of one file are listed.
    """
    services: list[InferenceService] = []
    containers: list[StorageContainer] = []
    entries: list[Entries] = []
    faults: dict[str, list[Fault]] = {}
    for document, path, value in _objects(documents):
        view = View(document, path, value, faults.setdefault(document.where, []))
        kind = view.text("kind")
        if kind == "InferenceService":
            services.append(_service(view))
        elif kind == "ClusterStorageContainer":
            containers.append(_storage_container(view))
        elif kind in _KINDS:
            entries.append(_entries(view, kind))
    for where, found in faults.items():
        if found:
            listed = "; ".join(str(fault) for fault in found)
            raise InvalidError(f"{where} is not valid: {listed}", faults=tuple(found))
    return Objects(tuple(services), tuple(containers), tuple(entries))


def _objects(documents: Iterable[Document]) -> Iterable[tuple[Document, Path, Any]]:
    for document in documents:
        value = document.value
        items = value.get("items") if isinstance(value, dict) and str(value.get("kind", "")).endswith("List") else None
        if isinstance(items, list):
            yield from ((document, ("items", index), item) for index, item in enumerate(items))
        else:
            yield document, (), value


class View:
    """One mapping of a document, read member by member; what has the wrong type becomes a fault and reads as absent."""

    def __init__(self, document: Document, path: Path, value: Any, faults: list[Fault]) -> None:
        self._document, self._path, self._faults = document, path, faults
        if value is not None and not isinstance(value, dict):
            self.fault("an object was expected")
        self.raw: Mapping[str, Any] = value if isinstance(value, dict) else {}

    @property
    def where(self) -> str:
        """The file the object stands in."""
        return self._document.where

    def fault(self, message: str, *path: str | int, hint: str | None = None) -> None:
        """Notes a fault at a member."""
        name = ".".join(str(part) for part in (*self._path, *path))
        self._faults.append(self._document.fault((*self._path, *path), f"{name}: {message}" if name else message, hint))

    def text(self, key: str, *, required: bool = False, default: str = "") -> str:
        """A text member."""
        value = self.raw.get(key)
        if value is None:
            if required:
                self.fault("is required", key)
            return default
        if not isinstance(value, str):
            self.fault(f"text was expected, not {value!r}", key, hint="put it in quotes")
            return default
        if required and not value:
            self.fault("must not be empty", key)
        return value

    def object_name(self) -> str:
        """The member `name` as objects of Kubernetes have it (RFC 1123 subdomain); it becomes part of paths and URLs."""
        name = self.text("name", required=True)
        if name and not (len(name) <= _NAME_LIMIT and _NAME.fullmatch(name)):
            self.fault(f"{name!r} is no name", "name", hint="lower-case letters, digits, '-' and '.'")
        return name

    def flag(self, key: str) -> bool:
        """A boolean member, False where it is absent."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, bool):
            self.fault(f"true or false was expected, not {value!r}", key)
            return False
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, None where it is absent."""
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fault("a list of texts was expected", key)
            return None
        return tuple(value)

    def view(self, key: str, *, required: bool = False) -> View:
        """A member that is an object; an absent one reads as empty."""
        if required and self.raw.get(key) is None:
            self.fault("is required", key)
        return View(self._document, (*self._path, key), self.raw.get(key), self._faults)

    def views(self, key: str) -> tuple[View, ...]:
        """A member that is a list of objects."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, list):
            self.fault("a list was expected", key)
            return ()
        return tuple(
            View(self._document, (*self._path, key, index), item, self._faults)
            for index, item in enumerate(value or ())
        )


def _storage_container(view: View) -> StorageContainer:
    spec = view.view("spec", required=True)
    formats = tuple(UriFormat(item.text("prefix"), item.text("regex")) for item in spec.views("supportedUriFormats"))
    if not formats:
        spec.fault("is required", "supportedUriFormats", hint="list a prefix such as kit:// or a regex")
    return StorageContainer(
        name=view.view("metadata").object_name(),
        container=_container(spec.view("container", required=True)),
        formats=formats,
        disabled=view.flag("disabled"),
        workload_type=spec.text("workloadType", default=INIT_CONTAINER),
        multi_model=spec.flag("supportsMultiModelDownload"),
        where=view.where,
        raw=view.raw,
    )


def _container(view: View) -> Container:
    return Container(
        name=view.text("name", required=True),
        image=view.text("image"),
        command=view.texts("command"),
        args=view.texts("args"),
        env=_env(view),
        env_from=tuple(source for item in view.views("envFrom") if (source := _env_from(item))),
    )


def _env(view: View) -> tuple[EnvVar, ...]:
    return tuple(
        EnvVar(item.text("name", required=True), item.text("value"), _key_ref(item.view("valueFrom")))
        for item in view.views("env")
    )


def _key_ref(view: View) -> KeyRef | None:
    for member, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if member in view.raw:
            ref = view.view(member)
            return KeyRef(kind, ref.text("name", required=True), ref.text("key", required=True), ref.flag("optional"))
    if view.raw:
        names = ", ".join(sorted(view.raw))
        view.fault(f"{names} cannot be read outside a cluster", hint="give the variable a value")
    return None


def _env_from(view: View) -> EnvFrom | None:
    for member, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
        if member in view.raw:
            ref = view.view(member)
            return EnvFrom(kind, ref.text("name", required=True), view.text("prefix"), ref.flag("optional"))
    view.fault("secretRef or configMapRef is required")
    return None


def _service(view: View) -> InferenceService:
    metadata = view.view("metadata")
    predictor = view.view("spec", required=True).view("predictor", required=True)
    model, model_format = _model(predictor)
    return InferenceService(
        name=metadata.object_name(),
        namespace=metadata.text("namespace", default="default"),
        model_format=model_format,
        storage_uri=_storage_uri(model),
        storage_container=predictor.text("storageContainerName"),
        env=_env(model),
        where=view.where,
        raw=view.raw,
    )


def _model(predictor: View) -> tuple[View, str]:
    """The part of the predictor that names the model, in the form of today or the older one."""
    older = [name for name in MODEL_FORMATS if name in predictor.raw]
    if "model" in predictor.raw or not older:
        if "model" not in predictor.raw:
            hint = f"name it under model, or as one of {', '.join(MODEL_FORMATS)}"
            predictor.fault("names no model that can be run here", hint=hint)
            return predictor.view("model"), ""
        model = predictor.view("model")
        return model, model.view("modelFormat", required=True).text("name", required=True)
    if len(older) > 1:
        predictor.fault(f"names several models: {', '.join(older)}")
    return predictor.view(older[0]), older[0]


def _storage_uri(model: View) -> str:
    for member in ("storageUris", "storage"):
        if member in model.raw:
            model.fault("cannot be run here", member, hint="use storageUri")
            return ""
    return model.text("storageUri", required=bool(model.raw))


def _entries(view: View, kind: str) -> Entries:
    metadata = view.view("metadata")
    data = {key: _encoded(view, key, kind) for key in view.view("data").raw}
    data |= {key: view.view("stringData").text(key) for key in view.view("stringData").raw}
    return Entries(kind, metadata.text("name", required=True), metadata.text("namespace"), data)


def _encoded(view: View, key: str, kind: str) -> str:
    text = view.view("data").text(key)
    if kind == "ConfigMap":
        return text
    try:
        # Bytes that are no text, of a key store say, reach a variable as they are.
        return base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape")
    except ValueError:
        view.fault("is not base64", "data", key)
        return ""
