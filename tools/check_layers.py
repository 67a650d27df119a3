"""Check what import-linter cannot see: the layers of the native modules, and their missing parts.

1. Imports point down only: the cimport and import lines of every .pyx and .pxd are read, and held
   against the same layers that pyproject.toml gives import-linter.
2. No textual ``include``: one module is one file, compiled by itself.
3. No orphans: a .pyx has a .pyi (or users and mypy see nothing of it), a .pyi has a module, and a
   .pxd that declares a class has the .pyx that defines it.

Usage: python tools/check_layers.py [FOLDER that holds the package]
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "headrace"
IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<origin>[.\w]+)\s+c?import\s+(?P<names>[^#]+)|c?import\s+(?P<modules>[^#]+))"
)
INCLUDE = re.compile(r"^\s*include\s+[\"']")
NATIVE = (".pyx", ".pxd")


def main(words: list[str]) -> int:
    source = Path(words[0]) if words else ROOT / "src"
    layers = read_layers(ROOT / "pyproject.toml")
    faults = []
    for path in sorted(source.rglob("*")):
        if path.suffix in NATIVE:
            faults += [f"{path}:{line}: {what}" for line, what in faults_in(path, source, layers)]
        if path.suffix in (*NATIVE, ".pyi"):
            faults += [f"{path}: {what}" for what in missing_beside(path)]
    print("\n".join(faults) or "native layers: clean")
    return 1 if faults else 0


def read_layers(pyproject: Path) -> dict[str, int]:
    """Module prefix -> height, the lowest layer being 0."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {
        name.strip(): height
        for height, layer in enumerate(reversed(layers))
        for name in re.split(r"[|:]", layer)
    }


def height(module: str, layers: dict[str, int]) -> int | None:
    """The height of the layer that holds this module; None for one that is in no layer."""
    while module:
        if module in layers:
            return layers[module]
        module = module.rpartition(".")[0]
    return None


def faults_in(path: Path, source: Path, layers: dict[str, int]) -> Iterator[tuple[int, str]]:
    module = ".".join(path.relative_to(source).with_suffix("").parts)
    own = height(module, layers)
    for number, line in logical_lines(path.read_text()):
        if INCLUDE.match(line):
            yield number, "textual include; cimport from a module instead"
        for imported in imports(line, module):
            theirs = height(imported, layers)
            if own is not None and theirs is not None and theirs > own:
                yield number, f"{module} imports {imported}, which is above it"


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those inside parentheses joined, as imports of many names are written."""
    start, held = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0]
        if not held:
            start = number
        held += " " + bare.strip() if held else bare
        opened = re.match(r"\s*(from|c?import)\b", held) and held.count("(") > held.count(")")
        if opened or bare.endswith("\\"):
            held = held.rstrip("\\")
            continue
        yield start, held
        held = ""


def imports(line: str, module: str) -> Iterator[str]:
    """The modules of the package that this line imports, as absolute names."""
    found = IMPORT.match(line)
    if found is None:
        return
    if found["origin"] is not None:
        origin = absolute(found["origin"], module)
        names = found["names"].replace("(", " ").replace(")", " ").split(",")
        # ``from headrace.core cimport operation`` names a module, or a name within headrace.core.
        candidates = [f"{origin}.{name.split()[0]}" for name in names if name.split()]
    else:
        candidates = [name.split()[0] for name in found["modules"].split(",") if name.split()]
    for candidate in candidates:
        if candidate == PACKAGE or candidate.startswith(PACKAGE + "."):
            yield candidate


def absolute(origin: str, module: str) -> str:
    levels = len(origin) - len(origin.lstrip("."))
    if not levels:
        return origin
    parents = module.split(".")[:-levels]
    return ".".join([*parents, *filter(None, [origin.lstrip(".")])])


def missing_beside(path: Path) -> Iterator[str]:
    if path.stem == "__init__":
        return
    if path.suffix == ".pyx" and not path.with_suffix(".pyi").exists():
        yield "native module without a .pyi"
    if path.with_suffix(".pyx").exists():
        return
    if path.suffix == ".pyi" and not path.with_suffix(".py").exists():
        yield "stub without a module"
    if path.suffix == ".pxd" and re.search(
        r"^\s*cdef\s+(class|cppclass)\s", path.read_text(), re.M
    ):
        yield "declares a class that no .pyx beside it defines"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
