"""Data is never code: nothing in the project unpickles freely, evaluates, or runs a hub's code."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "input",
    "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.ops.load_library",
    "tarfile.open", "shutil.unpack_archive", "pd.read_pickle",
    "pandas.read_pickle", "open_clip.load_checkpoint", "timm.models.load_checkpoint",
}  # fmt: skip
FORBIDDEN_METHODS = {"extractall", "load_state_dict_from_url"}
REQUIRED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
FORBIDDEN_KEYWORDS = {
    "trust_remote_code": True, "shell": True, "allow_pickle": True, "typ": "unsafe"
}  # fmt: skip
FORBIDDEN_MODULES = {
    "yaml",
    "marshal",
    "shelve",
    "dill",
    "joblib",
    "cloudpickle",
}  # ruamel's is safe

ALLOWED = {
    # Members are read in memory one after the other, and none is ever extracted.
    "lmm4rec/catalogue/readers/families/samples.py: tarfile.open",
    "lmm4rec/catalogue/pictures/containers.py: tarfile.open",
    "tests/catalogue/readers/test_documents_feeds_and_tars.py: tarfile.open",  # writes one
    "tests/catalogue/pictures/test_archive.py: tarfile.open",  # likewise
    "tests/catalogue/sources/other_formats.py: tarfile.open",  # likewise
    "tests/features/test_arrays.py: allow_pickle=True",  # writes what is refused then
    "tests/mutation/mutants.py: compile",  # of our own code, to see whether it is any
    "tests/encoders/files/test_torchscript.py: torch.jit.load",  # shows that the archive is armed
    # Tokenizers travel to loading processes of ours as pickles of ours.
    "tests/encoders/encoder_contract.py: pickle.loads",
    "tests/encoders/unified/test_unified_encoders.py: pickle.loads",
}


def faults(source: str) -> Iterator[str]:
    """The forbidden calls of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FORBIDDEN_MODULES)
        if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            yield str(node.module)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if name in FORBIDDEN or name.rpartition(".")[2] in FORBIDDEN_METHODS:
            yield name
        if name in REQUIRED:
            key, value = REQUIRED[name]
            if not is_literal(given.get(key), value):
                yield f"{name} without {key}={value!r}"
        for key, value in FORBIDDEN_KEYWORDS.items():
            if is_literal(given.get(key), value):
                yield f"{key}={value!r}"


def is_literal(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def test_no_forbidden_call() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    found = {
        f"{name}: {fault}"
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
        for fault in faults((ROOT / name).read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "call",
    ["eval('1')", "pickle.loads(b)", "torch.jit.load(p)", "torch.load(p)", "np.load(p)",
     "torch.load(p, weights_only=False)", "torch.load(p, weights_only=x)", "archive.extractall(p)",
     "AutoModel.from_pretrained(p, trust_remote_code=True)", "np.load(p, allow_pickle=True)",
     "subprocess.run(c, shell=True)", "YAML(typ='unsafe')"],
)  # fmt: skip
def test_a_forbidden_call_is_seen(call: str) -> None:
    assert list(faults(f"def f():\n    return {call}"))


@pytest.mark.parametrize(
    "call",
    ["model.eval()", "re.compile(x)", "torch.load(p, weights_only=True)", "YAML()",
     "np.load(p, mmap_mode='r', allow_pickle=False)", "pickle.dumps(x)"],
)  # fmt: skip
def test_other_calls_are_not(call: str) -> None:
    assert not list(faults(call))
