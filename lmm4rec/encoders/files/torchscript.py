"""The tensors of a TorchScript archive, of which nothing is run.

OpenAI's CLIP files are such archives: a zip with a program, its constants, and `data.pkl`, the
module tree that the program works on. `torch.jit.load` would run the program's `__setstate__`
before it returns, and TorchScript can write files. So the program is left where it is: the tree
and its storages go into an archive of their own, which torch's weights-only reader opens. Every
class of the program becomes a bare tree node there; any other class than that reader's own is
refused by it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from lmm4rec.errors import InputError

_CLASSES = "__torch__."  # of the program itself, not of torch
_CONSTANTS, _TREE = "constants.pkl", "data.pkl"


# What TorchScript's pickler calls on typed lists and dictionaries: they give back what they get.
_TYPE_TAGS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist",
              "restore_type_tag")  # fmt: skip


class _Node:
    """A module of the tree: its attributes."""


def _untyped(value: Any, *_: Any) -> Any:
    return value


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip with the constants of a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == _CONSTANTS for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the module tree by its dotted name, as stored, on CPU.

    Raises InputError for an archive that is damaged, or whose tree holds anything but modules,
    tensors and plain values.
    """
    try:
        tree, content = _tree_alone(path)
        known: list[Any] = [(_Node, name) for name in _program_classes(tree)]
        known += [(_untyped, f"torch.jit._pickle.{name}") for name in _TYPE_TAGS]
        with torch.serialization.safe_globals(known):
            root = torch.load(content, map_location="cpu", weights_only=True)
        return dict(_tensors(root))
    except InputError:
        raise
    except (ZeroDivisionError, pickle.UnpicklingError, zipfile.BadZipFile, *_DAMAGE) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: a TorchScript archive that is damaged or holds more than a model's weights "
            f"({reason}); download it again, or give the weights as safetensors"
        ) from None


# What torch's and the standard library's readers raise over bytes that are not as promised.
_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    AssertionError, NotImplementedError, OverflowError, MemoryError,
)  # fmt: skip


def _tree_alone(path: Path) -> tuple[bytes, io.BytesIO]:
    """The pickled module tree, and an archive of it and its storages without the program."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(content, "w") as kept:
        [tree] = [name for name in archive.namelist() if PurePosixPath(name).name == _TREE]
        folder = str(PurePosixPath(tree).parent)
        members = [
            info
            for info in archive.infolist()
            if info.filename in (tree, f"{folder}/byteorder", f"{folder}/version")
            or info.filename.startswith(f"{folder}/data/")
        ]
        if sum(info.file_size for info in members) > path.stat().st_size:
            raise ValueError("it unpacks to more than its own size")  # torch compresses nothing
        for info in members:
            name = info.filename.removeprefix(f"{folder}/")
            kept.writestr(zipfile.ZipInfo(f"archive/{name}"), archive.read(info))
        pickled = archive.read(tree)
    content.seek(0)
    return pickled, content


def _program_classes(tree: bytes) -> set[str]:
    """Names of the program's own classes in a pickle, which is read and not run."""
    operations = pickletools.genops(tree)
    named = {str(argument) for code, argument, _ in operations if code.name == "GLOBAL"}
    names = {name.replace(" ", ".") for name in named}
    return {name for name in names if name.startswith(_CLASSES)}


def _tensors(root: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors by dotted name; a module that stands twice in the tree has its first name."""
    if not isinstance(root, _Node):
        raise ValueError("its root is no module")
    waiting, seen = [("", root)], {id(root)}
    while waiting:
        prefix, node = waiting.pop()
        for name, value in vars(node).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
            elif isinstance(value, _Node) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
