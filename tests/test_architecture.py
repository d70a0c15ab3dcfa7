"""Who may import whom, and what `import ttamer_fast` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import ttamer_fast

ROOT = Path(ttamer_fast.__file__).parent
MODULES = {
    ".".join(("ttamer_fast", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
BELOW = {
    "_core": set[str](),
    "_utils": {"_core"},
    "traces": {"_core", "_utils"},
    "plotting": {"_core", "_utils", "traces"},
    "records": {"_core", "_utils", "traces"},
    "serving": {"_core", "_utils", "records", "traces"},
    "stages": {"_core", "_utils", "serving", "signals"},
    "monitoring": {"_core", "_utils", "records", "serving", "traces"},
    "integrations": {"_core", "_utils", "monitoring", "records", "serving", "traces"},
    "fitting": {"_core", "_utils", "traces"},
    "baselines": {"_core", "fitting", "traces"},
    "signals": {"_core"},
    "evaluation": {"_core", "_utils", "traces", "plotting", "fitting", "baselines"},
}
BELOW["demo"] = set(BELOW)
BELOW["cli"] = set(BELOW)


def imports(name: str) -> set[str]:
    """Modules of the package that a module imports, anywhere in it: in functions and for type checkers too."""
    path, found = MODULES[name], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            start = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            inner = [f"{module}.{alias.name}" for alias in node.names]
            found |= {one if one in MODULES or one == "ttamer_fast._core" else module for one in inner}
    return {module for module in found if module.partition(".")[0] == "ttamer_fast"}


def test_rooms_import_only_from_the_rooms_below_them() -> None:
    assert {name.split(".")[1] for name in MODULES if "." in name} == BELOW.keys() - {"_core"}
    for name in MODULES.keys() - {"ttamer_fast"}:
        room = name.split(".")[1]
        rooms = {(*module.split("."), "")[1] for module in imports(name)}
        assert rooms <= BELOW[room] | {room}, name


def test_no_circle_of_imports() -> None:
    assert len(list(TopologicalSorter({name: imports(name) for name in MODULES}).static_order())) > len(BELOW)


def test_importing_loads_numpy_and_nothing_else() -> None:
    program = (
        "import sys, numpy.random; before = set(sys.modules)\n"
        "import ttamer_fast; loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(loaded - sys.stdlib_module_names - {'numpy', 'ttamer_fast'}))"
    )
    assert output_of(program).split() == []


def test_adapters_are_loaded_when_they_are_used() -> None:
    program = (
        "import sys, ttamer_fast as tt; before = set(sys.modules)\n"
        "names = tt.stages.__all__; package = set(sys.modules) - before; print(*sorted(package))\n"
        "for name in names: getattr(tt.stages, name)\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(loaded - sys.stdlib_module_names))"
    )
    package, adapters = output_of(program).splitlines()
    assert package == "ttamer_fast.stages"
    assert set(adapters.split()) <= {"ttamer_fast", "numpy"}
    assert set(ttamer_fast.stages.__all__) <= set(dir(ttamer_fast.stages))
    assert not hasattr(ttamer_fast.stages, "Nothing")
    assert not hasattr(ttamer_fast, "nothing")


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_public_is_what_is_listed_and_the_named_submodules() -> None:
    listed = ttamer_fast.__all__
    assert len(set(listed)) == len(listed)
    submodules = {name for name in listed if isinstance(getattr(ttamer_fast, name), ModuleType)}
    assert submodules == {"baselines", "integrations", "signals", "stages"}
    beside = {name for name in vars(ttamer_fast) if not name.startswith("_")} - {*listed, "annotations"}
    assert all(isinstance(getattr(ttamer_fast, name), ModuleType) for name in beside)
