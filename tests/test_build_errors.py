"""setup.py on a machine that lacks something: one sentence that says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("Cython", reason="the build needs Cython; pip brings it in by itself")

ROOT = Path(__file__).resolve().parent.parent
INSTALL = "on Debian: apt-get install build-essential pkg-config liburing-dev python3-dev"


def build(*words: str, **variables: str) -> str:
    """Start the build as pip does, with these variables; answer what it says when it stops."""
    outcome = subprocess.run(
        [sys.executable, *(words or ["setup.py", "--version"])],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    return outcome.stderr


def with_liburing_in(folder: Path) -> dict[str, str]:
    """The variables with which pkg-config finds liburing in this folder, and only there."""
    (folder / "liburing.pc").write_text(
        f"libdir={folder}\nincludedir={folder}\nName: liburing\nDescription: none\nVersion: 2.3\n"
    )
    return {"PKG_CONFIG_LIBDIR": str(folder), "PKG_CONFIG_PATH": ""}


def test_build_without_a_compiler_says_what_to_install():
    said = build(CC="no-such-compiler -O2")
    assert (
        said == f"headrace: cannot build, the C compiler 'no-such-compiler' is missing; {INSTALL}\n"
    )


def test_build_without_pkg_config_says_what_to_install(tmp_path):
    (tmp_path / "cc").symlink_to("/bin/true")
    said = build(PATH=str(tmp_path), CC="cc")
    assert said == f"headrace: cannot build, pkg-config is missing; {INSTALL}\n"


def test_build_without_liburing_says_what_to_install(tmp_path):
    said = build(PKG_CONFIG_LIBDIR=str(tmp_path), PKG_CONFIG_PATH="")
    assert said == (
        f"headrace: cannot build, liburing is missing (pkg-config does not know it); {INSTALL}\n"
    )


def test_build_without_liburings_header_says_what_to_install(tmp_path):
    (tmp_path / "liburing.a").touch()
    said = build(**with_liburing_in(tmp_path))
    assert said == (
        "headrace: cannot build, liburing's header is missing"
        f" (no {tmp_path / 'liburing.h'}); {INSTALL}\n"
    )


def test_build_without_liburings_static_library_says_what_to_install(tmp_path):
    (tmp_path / "liburing.h").touch()
    said = build(**with_liburing_in(tmp_path))
    assert said == (
        "headrace: cannot build, liburing's static library is missing"
        f" (no {tmp_path / 'liburing.a'}); {INSTALL}\n"
    )


def test_build_without_pythons_headers_says_what_to_install(tmp_path):
    # Python's own configuration says where they are; this one says: in our empty folder.
    (tmp_path / "sitecustomize.py").write_text(
        f"import sysconfig\nsysconfig.get_path = lambda *names: {str(tmp_path)!r}\n"
    )
    said = build(PYTHONPATH=str(tmp_path))
    assert said == (
        "headrace: cannot build, Python's C headers are missing"
        f" (no Python.h in {tmp_path}); {INSTALL}\n"
    )


def test_build_elsewhere_than_on_linux_says_so():
    program = (
        "import runpy, setuptools.command.build_ext, sys\n"
        "sys.platform = 'plan9'\n"
        "runpy.run_path('setup.py', run_name='__main__')\n"
    )
    assert build("-c", program) == "headrace: cannot build on plan9, it needs Linux\n"
