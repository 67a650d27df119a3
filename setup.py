"""Build the native modules: one extension per ``.pyx`` file below ``src``.

Everything static is in ``pyproject.toml``.  What stands here needs code: finding liburing's
static library with pkg-config, and saying in one sentence what to install when the machine
lacks something, instead of a page of compiler output.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src")
USES_LIBURING = {"uring", "ring_buffers", "ring_files"}
DEBIAN_PACKAGES = "build-essential pkg-config liburing-dev python3-dev"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "initializedcheck": False,
    "cdivision": True,
    # Plain method descriptors: asyncio's C code reaches call_soon() without a function object.
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
}


def stop(missing: str) -> "SystemExit":
    return SystemExit(
        f"headrace: cannot build, {missing}; on Debian: apt-get install {DEBIAN_PACKAGES}"
    )


def require_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise SystemExit(f"headrace: cannot build on {sys.platform}, it needs Linux")


def require_compiler() -> None:
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise stop(f"the C compiler {compiler!r} is missing")


def require_python_headers() -> None:
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").is_file():
        raise stop(f"Python's C headers are missing (no Python.h in {include})")


def pkg_config(*arguments: str) -> str:
    if shutil.which("pkg-config") is None:
        raise stop("pkg-config is missing")
    answer = subprocess.run(
        ["pkg-config", *arguments, "liburing"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise stop("liburing is missing (pkg-config does not know it)")
    return answer.stdout.strip()


def liburing() -> dict[str, list[str]]:
    """How to compile and link against liburing's static library."""
    header = Path(pkg_config("--variable=includedir")) / "liburing.h"
    if not header.is_file():
        raise stop(f"liburing's header is missing (no {header})")
    archive = Path(pkg_config("--variable=libdir")) / "liburing.a"
    if not archive.is_file():
        raise stop(f"liburing's static library is missing (no {archive})")
    return {"extra_objects": [str(archive)], "include_dirs": [str(header.parent)]}


def extensions() -> list[Extension]:
    flags = ["-O2", "-fno-strict-aliasing", "-Wno-unused-function", "-Wno-unreachable-code"]
    flags += os.environ.get("HEADRACE_CFLAGS", "").split()
    links = os.environ.get("HEADRACE_LDFLAGS", "").split()
    with_liburing = liburing()
    made = []
    for path in sorted(SOURCE.rglob("*.pyx")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        ring = with_liburing if path.stem in USES_LIBURING else {}
        made.append(
            Extension(name, [str(path)], extra_compile_args=flags, extra_link_args=links, **ring)
        )
    return made


def cythonized() -> list[Extension]:
    from Cython.Build import cythonize

    return cythonize(
        extensions(),
        include_path=[str(SOURCE)],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        nthreads=0,
    )


class BuildExtensions(build_ext):
    """build_ext that compiles the modules side by side."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.parallel = os.cpu_count()


require_linux()
require_compiler()
require_python_headers()
setup(ext_modules=cythonized(), cmdclass={"build_ext": BuildExtensions})
