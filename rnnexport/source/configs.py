"""Walking the configuration of a model: JSON in which an object is a dict with `class_name` and `config`.

Which Keras wrote a file, and which Keras therefore has its numbers.

The version that a file records names the program, not the API alone:

    1.0.5 to 1.2.2        Keras 1 (before 1.0.5 nothing was recorded)
    2.0.0 to 2.3.1        Keras 2 of the keras package, on TensorFlow, Theano or CNTK
    2.1.6-tf to 2.3.0-tf  tf.keras of TensorFlow 1.9 to 2.3
    2.4.0 to 2.15.0       tf.keras of TensorFlow 2.4 to 2.15
    2.16.0 and up         tf_keras
    3.0.0 and up          Keras 3
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import KerasApiChoice

Config = dict[str, Any]
KerasApiName = Literal["keras", "tf_keras"]
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def serialised_objects(node: Any, key: str = "") -> Iterator[tuple[str, Config]]:
    """Every serialised object at or below `node`, parents first, with the key it (or its list) stands under."""
    if isinstance(node, dict):
        if isinstance(node.get("class_name"), str) and "config" in node:
            yield key, node
        for name, child in node.items():
            yield from serialised_objects(child, name)
    elif isinstance(node, list):
        for child in node:
            yield from serialised_objects(child, key)


def changed(node: Any, change: Callable[[Config], Config]) -> Any:
    """A copy in which every serialised object is what `change` makes of it, children before parents."""
    if isinstance(node, list):
        return [changed(child, change) for child in node]
    if not isinstance(node, dict):
        return node
    copy = {name: changed(child, change) for name, child in node.items()}
    return change(copy) if isinstance(copy.get("class_name"), str) and isinstance(copy.get("config"), dict) else copy


def without_key(node: Any, key: str) -> Any:
    """A copy without whatever stands under `key`, at any depth."""
    if isinstance(node, list):
        return [without_key(child, key) for child in node]
    if isinstance(node, dict):
        return {name: without_key(child, key) for name, child in node.items() if name != key}
    return node


def nested_deeper(node: Any, limit: int = 200) -> bool:
    """Whether objects and lists lie in each other deeper than any model's, and than Python can walk."""
    level = [node]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def strings(node: Any) -> Iterator[str]:
    """Every string in a configuration: the names of all that it could ask for."""
    if isinstance(node, dict):
        for child in node.values():
            yield from strings(child)
    elif isinstance(node, list):
        for child in node:
            yield from strings(child)
    elif isinstance(node, str):
        yield node


def label(node: Config) -> str:
    """An object in words: its class, and its name if it has one."""
    kind, name = str(node["class_name"]).rpartition(">")[2], name_in(node)
    return kind if name is None else f"{kind} {name!r}"


def name_in(node: Config) -> str | None:
    """The name of an object. Functional models have it beside the configuration, too, which a class may leave out."""
    inner = node["config"]
    found = [each.get("name") for each in (inner, node) if isinstance(each, dict)]
    return next((name for name in found if isinstance(name, str)), None)


@dataclass(frozen=True)
class Origin:
    """The writer of a file.

    Attributes:
        version: the Keras version that it records; None where it records none.
        backend: the backend that it records.
    """

    version: str | None
    backend: str | None = None

    @property
    def major(self) -> int | None:
        """1, 2 or 3; None where no version is recorded."""
        return None if self.version is None else self._parts[0]

    @property
    def multi_backend(self) -> bool:
        """Whether it is the `keras` package before that became a name for tf.keras."""
        return self.version is not None and self._parts < (2, 4) and "-tf" not in self.version

    def below(self, *version: int) -> bool:
        """Whether the recorded version is older than this one; False where none is recorded."""
        return self.version is not None and self._parts < version

    @property
    def _parts(self) -> tuple[int, ...]:
        match = _VERSION.match(self.version or "")
        return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)

    def __str__(self) -> str:
        if self.version is None:
            return "an unknown Keras (no version is recorded)"
        if self.multi_backend or self._parts >= (3,):
            return f"Keras {self.version}" + (f" on {self.backend}" if self.backend else "")
        return f"{'tf_keras' if self._parts >= (2, 16) else 'tf.keras'} {self.version}"


def parsed(version: object, backend: object = None) -> Origin:
    """The origin from what a file records.

    Raises:
        ValueError: what is recorded is no version of Keras.
    """
    if not isinstance(version, str) or not re.fullmatch(r"[1-9]\d{0,3}(\.\w{1,20}){0,3}(-\w{1,20})?", version):
        raise ValueError(f"keras_version is {version!r}")
    return Origin(version, backend if isinstance(backend, str) and backend.isidentifier() else None)


def choose_api(origin: Origin, asked: KerasApiChoice, name: str) -> tuple[KerasApiName, str]:
    """The Keras to load a file with, and why.

    Raises:
        ConversionError: nothing tells; names the option that decides.
    """
    if asked == "tf_keras" and origin.major == 3:
        raise ConversionError(
            f"--keras-api tf_keras for {name} of {origin}",
            "keras, since tf_keras can't read what Keras 3 writes",
            "drop it, or build the model with tf_keras and give it with --builder",
        )
    if asked != "auto":
        return asked, "asked for with --keras-api"
    if origin.major is None:
        raise ConversionError(
            f"{name} does not record which Keras wrote it",
            "a version, since hard_sigmoid, GRU and defaults differ between Keras 2 and 3",
            "give --keras-api keras (Keras 3) or --keras-api tf_keras (Keras 1 and 2)",
        )
    if origin.major >= 3:
        return "keras", f"because {origin} wrote it"
    return "tf_keras", f"because {origin} wrote it, and Keras 3 may compute other numbers"
