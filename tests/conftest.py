"""What all tests share: models, an interrupt that arrives, children that end with their test."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import headrace

# How fast an example is says nothing on a busy machine.
hypothesis.settings.register_profile(
    "headrace", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("headrace")

OPENSSL_S_MAX = 60

type_of_started = Callable[..., contextlib.AbstractContextManager[subprocess.Popen[Any]]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--models", help="run the tests of models on these only, comma-separated")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skip_prompt(items)
    wanted = config.getoption("--models")
    if wanted is None:
        return
    known = {info.name for info in headrace.models()}
    unknown = set(wanted.split(",")) - known
    if unknown:
        raise pytest.UsageError(f"--models: unknown {', '.join(sorted(unknown))}")
    unwanted = known - set(wanted.split(","))
    left_out = [item for item in items if unwanted & _parameters(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not unwanted & _parameters(item)]


def skip_prompt(items: list[pytest.Item]) -> None:
    """Tests marked `prompt` are not for models that declare that they are not."""
    late = {info.name for info in headrace.models() if info.capabilities.get("prompt") is False}
    for item in items:
        if item.get_closest_marker("prompt") and late & _parameters(item):
            item.add_marker(pytest.mark.skip(reason="the model is not prompt"))


RERUNS_MAX = 5
"""More tests than this that pass only the second time (``--reruns``) are no noise."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and len(reporter.stats.get("rerun", ())) > RERUNS_MAX:
        reporter.write_line(f"more than {RERUNS_MAX} tests had to be run again: that is a failure")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _parameters(item: pytest.Item) -> set[str]:
    callspec = getattr(item, "callspec", None)
    return set(map(str, callspec.params.values())) if callspec else set()


# What pytest keeps (the tests, then a report of each) is no garbage of a test's.  Looking through
# it would take most of the time of those that look for what they have left, which are thousands.
TESTS_PER_FREEZE = 16
_tests_begun = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if next(_tests_begun) % TESTS_PER_FREEZE == 0:
        gc.collect()
        gc.freeze()


def model_parameters() -> list[Any]:
    return [
        pytest.param(
            info.name, marks=() if info.available else pytest.mark.skip(reason=info.reason)
        )
        for info in headrace.models()
    ]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for localhost, in one file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
            f"-keyout {path} -out {path}.crt"
        ).split(),
        check=True,
        capture_output=True,
        timeout=OPENSSL_S_MAX,
    )
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


@pytest.fixture(scope="session")
def client_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context


@pytest.fixture(params=model_parameters())
def model(request: pytest.FixtureRequest) -> str:
    """Each model; those that cannot be had here are skipped."""
    name: str = request.param
    return name


@pytest.fixture(params=["asyncio", *model_parameters()])
def loop_name(request: pytest.FixtureRequest) -> str:
    """Each model, and stock asyncio as the oracle."""
    name: str = request.param
    return name


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """SIGINT and SIGHUP as a terminal's programs have them, for this process and those it starts.

    A shell without job control ignores the one in what it starts in the background, nohup the
    other; children inherit that, and whoever waits for one that was interrupted waits for ever.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in usual}
    for number, handler in usual.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def popen_that_ends(command: list[str], **keywords: Any) -> Iterator[subprocess.Popen[Any]]:
    with subprocess.Popen(command, **keywords) as process:
        try:
            yield process
        finally:
            # Popen's own end waits, for a test that has failed as well.
            process.kill()


@pytest.fixture(scope="session")
def started() -> type_of_started:
    """subprocess.Popen, but a child that is still there at the end of the block is killed."""
    return popen_that_ends
