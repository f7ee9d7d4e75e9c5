"""Public names are what they should be, whatever else has been imported before."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import FunctionType, ModuleType

import pytest

import driftwell

CLASSES = {
    "AlertRule", "CaptureMiddleware", "CheckResult", "ColumnResult", "DriftDetector", "DriftResult", "Monitor",
    "PerformanceWindow", "Profile", "Reference", "Severity",
}  # fmt: skip
FUNCTIONS = {"compare", "create_monitor", "evaluate_rules", "merge_profiles", "methods", "performance", "profile"}
"""What was promised first; whatever is listed since must be a class or a function too."""

LISTED = [name for name in driftwell.__all__ if name != "__version__"]


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(driftwell.__path__, "driftwell.") if not m.name.endswith("__main__")]


@pytest.fixture(scope="module", autouse=True)
def every_module_imported() -> None:
    for name in modules():
        importlib.import_module(name)


@pytest.mark.parametrize("name", LISTED)
def test_listed_name_is_what_it_should_be(name: str) -> None:
    found = getattr(driftwell, name)
    assert isinstance(found, (type, FunctionType))
    assert found.__name__ == name
    assert found.__doc__


def test_promised_names_stay() -> None:
    assert set(LISTED) >= CLASSES | FUNCTIONS
    assert all(isinstance(getattr(driftwell, name), type) for name in CLASSES)
    assert all(isinstance(getattr(driftwell, name), FunctionType) for name in FUNCTIONS)
    assert len(set(driftwell.__all__)) == len(driftwell.__all__)
    assert set(dir(driftwell)) == set(driftwell.__all__)


@pytest.mark.parametrize("name", LISTED)
def test_name_loads_first_of_all(name: str) -> None:
    """In a fresh process, with nothing else imported: no order of imports is needed."""
    code = f"import driftwell; assert driftwell.{name}.__name__ == {name!r}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_module_bears_the_name_of_a_public_one() -> None:
    own = {m.name for m in pkgutil.iter_modules(driftwell.__path__)}
    assert not own & set(driftwell.__all__)


def test_modules_stay_modules_and_names_stay_names() -> None:
    """Importing a submodule binds its name on the package: it must not hide a public one."""
    for name in modules():
        parent, _, last = name.rpartition(".")
        if parent == "driftwell":
            assert isinstance(getattr(driftwell, last), ModuleType)


def test_namespaces_are_their_modules() -> None:
    """In a fresh process, where nothing else has imported them."""
    code = "import driftwell; assert driftwell.testing.__name__ == 'driftwell.testing' and driftwell.testing.inject"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'driftwell' has no attribute 'compaer'"):
        _ = driftwell.compaer


def test_every_module_says_what_it_holds() -> None:
    for name in modules():
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"


def test_version_is_a_version() -> None:
    assert [part.isdecimal() for part in driftwell.__version__.split(".")[:2]] == [True, True]
