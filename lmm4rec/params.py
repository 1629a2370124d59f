"""params.yaml: read once, checked strictly, handed out as frozen models.

A section becomes a `Section` subclass: unknown keys, missing keys and wrong types are one-sentence
`InputError`s that name the file, the full key and the nearest valid key. ruamel.yaml reads the
file because PyYAML takes `1e-3` for a string.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lmm4rec.doors import reading
from lmm4rec.errors import InputError, did_you_mean

LARGEST = 1e9  # that a fraction can be
_DEEPEST = 100  # lists within lists
_MEND = "mend the line it names, and quote values that hold a colon"


class Section(BaseModel):
    """A part of params.yaml: complete (no hidden defaults), typed, frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_meant(cls, value: Any) -> Any:
        """Weights, rates and norms far beyond what single precision can compute with."""
        if isinstance(value, float) and abs(value) > LARGEST:
            raise ValueError(f"should be at most {LARGEST:.0f}, not {value}")
        return value


def _without_repetition(values: list[Any]) -> list[Any]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"names {twice!r} twice; leave one of them")
    return values


Distinct = AfterValidator(_without_repetition)  # of a list
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator in use can begin from
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
Revision = Annotated[int, Field(gt=0, le=1_000_000)]
# Bounds that no sensible value reaches: beyond them memory ends before the first step.
Dimensions = Annotated[int, Field(gt=0, le=65_536)]
Layers = Annotated[int, Field(ge=0, le=100)]
Neighbours = Annotated[int, Field(gt=0, le=10_000)]
Cutoff = Annotated[int, Field(gt=0, le=10_000)]
Epochs = Annotated[int, Field(gt=0, le=1_000_000)]  # or how many of them to wait
BatchSize = Annotated[int, Field(gt=0, le=1_000_000)]
Steps = Annotated[int, Field(ge=0, le=1_000_000_000)]

AnySection = TypeVar("AnySection", bound=BaseModel)


def read_params(path: Path) -> dict[str, Any]:
    """The whole of params.yaml as plain dicts, lists, numbers and strings."""
    with reading(path, "a text", "run from the project's root, or restore it from git"):
        read = path.read_bytes()
    try:
        text = read.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is not UTF-8; save the file in that encoding"
        ) from None
    content = _parsed(text, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected named sections, found none; restore the file from git")
    return content


@lru_cache(maxsize=1)  # a stage asks for several sections of one file
def _parsed(text: str, path: Path) -> Any:
    if _depth(text) > _DEEPEST:
        raise InputError(f"{path}: lists or brackets open more than {_DEEPEST} deep; close them")
    try:
        with reading(path, "valid YAML", _MEND, (AttributeError, KeyError, IndexError)):
            return YAML(typ="safe").load(text)
    except YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({problem}); {_MEND}") from None


def _depth(text: str) -> int:
    """How many lists or keys are open at most: in brackets, or begun on one line as `- - -`.

    The parser's time grows with the square of the one, and its stack overflows over the other.
    """
    changes = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    begun = (len(run.split()) for run in re.findall(r"(?m)^(?:[ \t]*[-?:][ \t])+", text))
    return max(max(accumulate(changes), default=0), max(begun, default=0))


def read_section(path: Path, key: str, model: type[AnySection]) -> AnySection:
    """The section at the dotted `key`, checked against `model`.

    >>> read_section(Path("params.yaml"), "recommenders.vbpr", VBPRConfig)  # doctest: +SKIP
    """
    return check_section(find(read_params(path), key, path), model, key, path)


def find(content: Mapping[str, Any], key: str, path: Path) -> Any:
    """The value at a dotted key; a missing step is named together with its nearest neighbour."""
    here: Any = content
    walked: list[str] = []
    for step in key.split("."):
        if not isinstance(here, Mapping) or step not in here:
            known = list(here) if isinstance(here, Mapping) else []
            where = ".".join([*walked, step])
            raise InputError(f"{path}: {where} is missing; {did_you_mean(step, known)}")
        here = here[step]
        walked.append(step)
    return here


def check_section(value: Any, model: type[AnySection], key: str, path: Path) -> AnySection:
    """`value` as a `model`; the first thing wrong with it becomes the error's sentence."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(_sentence(error, model, value, key, path)) from None


def _sentence(
    error: ValidationError, model: type[BaseModel], value: Any, key: str, path: Path
) -> str:
    problem = _chosen(error.errors(include_url=False), value)
    location = problem["loc"]
    is_absent = problem["type"] == "missing"
    where = ".".join([key, *_steps_in(value, location[:-1] if is_absent else location)])
    if problem["type"] == "extra_forbidden":
        known = _fields_beside(model, location)
        return f"{path}: {where} is not a parameter; {did_you_mean(str(location[-1]), known)}"
    if is_absent:
        return (
            f"{path}: {where}.{location[-1]} is missing; add it (params.yaml shows every parameter)"
        )
    if problem["type"] == "value_error":  # our own validators' sentences
        return f"{path}: {where} {problem['msg'].removeprefix('Value error, ')}"
    is_section = isinstance(problem["input"], dict)
    given = "" if is_section else f", not {reprlib.repr(problem['input'])}"
    message = _PLAINER.get(problem["type"], problem["msg"].removeprefix("Input "))
    return f"{path}: {where} {message}{given}"


def _chosen(problems: list[ErrorDetails], value: Any) -> ErrorDetails:
    """The one that helps most.

    A misspelt key is reported as missing and as unknown: as unknown. A section in the place where a
    name may stand as well is reported as no name, and by what is wrong in it: by that.
    """
    unknown = [one for one in problems if one["type"] == "extra_forbidden"]
    if unknown:
        return unknown[0]
    alike = [one for one in problems if one["loc"][:1] == problems[0]["loc"][:1]]
    return max(
        alike, key=lambda one: (len(_steps_in(value, one["loc"])), one["type"] == "value_error")
    )


# What pydantic says in its own terms.
_PLAINER = {
    "model_type": "should be a section of keys and values",
    "list_type": "should be a list, [one, another]",
    "string_too_short": "should not be empty",
    "too_short": "should not be empty",
    "string_too_long": "should be shorter",
    "string_pattern_mismatch": "should be a SHA-256 of 64 hexadecimal digits",
}


def _steps_in(value: Any, location: tuple[int | str, ...]) -> list[str]:
    """The location as the user wrote it: pydantic adds the tag of a chosen model to it."""
    steps: list[str] = []
    here: Any = value
    for step in location:
        in_list = isinstance(here, list) and isinstance(step, int)
        if in_list or (isinstance(here, Mapping) and step in here):
            steps.append(str(step))
            here = here[step]
    return steps


def _fields_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The legal names where `location` points, walking down nested sections (or unions)."""
    candidates: list[type[BaseModel]] = [model]
    for step in location[:-1]:
        below: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(step))
            if field is None:
                below.append(candidate)  # a union's tag: not a field, but a choice of model
            else:
                below.extend(_models_in(field.annotation))
        candidates = below
    return [name for candidate in candidates for name in candidate.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)]
