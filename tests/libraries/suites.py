"""The libraries: which version, what its tests need, and how they are called.

Versions are pinned, so that a failure which is new is ours.  Nothing here names an event loop:
uvloop is not installed, so that the suites' variants on it are skipped, and what is left runs on
the loop that asyncio makes by default.
"""

from dataclasses import dataclass

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """How to run one library's tests.

    ``files`` are what is taken from its source distribution: the tests and pytest's configuration,
    not the package, which would hide the installed one; none if the package has its tests inside.
    ``excluded`` are tests that cannot say anything here, each with the reason.
    """

    name: str
    version: str
    requirements: tuple[str, ...]
    files: tuple[str, ...]
    arguments: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...] = ()

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


PYTEST = ("pytest==9.0.3", "pytest-timeout==2.4.0")
TLS = ("trustme==1.2.1", "cryptography==48.0.0")
# The suite's own options are for its own workflow: coverage, several processes.
PLAIN = ("-o", "addopts=")

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name="aiohttp",
            version="3.14.5",
            requirements=(
                *PYTEST,
                *TLS,
                "aiodns==4.0.4",
                "backports-zstd==1.3.0; python_version < '3.14'",
                "blockbuster==1.5.26",
                "brotli==1.2.0",
                "coverage==7.14.1",
                "freezegun==1.5.5",
                "gunicorn==26.0.0",
                "isal==1.8.0",
                "pkgconfig==1.6.0",
                "proxy-py==2.4.10",
                "pytest-mock==3.15.1",
                "yarl==1.25.1",
                "zlib-ng==1.0.0",
            ),
            files=("tests", "examples", "README.rst", "pytest.ini"),
            arguments=(*PLAIN, "-m", "not dev_mode and not autobahn and not internal", "tests"),
            excluded=(
                ("tests/test_circular_imports.py", "imports each module, slowly; makes no loop"),
            ),
        ),
        Suite(
            name="anyio",
            version="4.16.0",
            requirements=(
                *PYTEST,
                *TLS,
                "blockbuster==1.5.29",
                "hypothesis==6.170.15",
                "psutil==7.2.2",
                "pytest-mock==3.15.1",
                "truststore==0.10.5",
            ),
            files=("tests", "pyproject.toml"),
            arguments=("--disable-plugin-autoload", "tests"),
        ),
        Suite(
            name="uvicorn",
            version="0.54.0",
            requirements=(
                *PYTEST,
                *TLS,
                "a2wsgi==1.10.10",
                "anyio==4.16.0",
                "httptools==0.9.0",
                "httpx2==2.16.2",
                "pytest-mock==3.15.1",
                "python-dotenv==1.2.4",
                "PyYAML==6.0.3",
                "watchfiles==1.3.0",
                "websockets==16.0",
                "wsproto==1.3.2",
            ),
            files=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "--ignore=tests/benchmarks", "tests"),
            excluded=(
                (
                    "tests/test_auto_detection.py::test_loop_auto",
                    "asserts that the loop's class is one of the package asyncio",
                ),
            ),
        ),
        Suite(
            name="httpx",
            version="0.28.1",
            requirements=(
                *PYTEST,
                *TLS,
                "anyio==4.16.0",
                "brotli==1.2.1",
                "chardet==5.2.0",
                "click==8.1.8",
                "h2==4.4.1",
                "httpx[brotli,cli,http2,socks,zstd]==0.28.1",
                "trio==0.35.0",
                "uvicorn==0.54.0",
            ),
            files=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "-k", "not trio", "tests"),
        ),
        Suite(
            name="aiosqlite",
            version="0.22.1",
            requirements=PYTEST,
            files=(),
            arguments=("--pyargs", "aiosqlite.tests.smoke"),
        ),
    )
}
