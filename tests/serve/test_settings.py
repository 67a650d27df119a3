"""Settings: the command line wins over the file, and each mistake is one line that helps."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve import settings as module
from headrace.serve.limits import BadLimit, Limits, limit_names, make_limits
from headrace.serve.settings import OPTIONS, Address, BadSettings, PortRange, Settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "serve.toml"


@pytest.fixture
def made(tmp_path: Path, config: Path):
    """Settings of a TOML text and of words of the command line."""

    def make(text: str = "", **words: object) -> Settings:
        config.write_text(text)
        return Settings.make({"directory": str(tmp_path), "config": str(config), **words})

    return make


def refused(make, text: str = "", **words: object) -> str:
    with pytest.raises(BadSettings) as caught:
        make(text, **words)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_listen_on_loopback_only_and_let_nobody_write(tmp_path):
    settings = Settings.make({"directory": str(tmp_path)})
    assert settings.ftp == ("127.0.0.1", 2121)
    assert settings.http == ("127.0.0.1", 8080)
    assert settings.ftps is settings.https is settings.metrics is None
    assert (settings.anonymous, settings.users, settings.workers) == ("ro", None, None)
    assert settings.limits == Limits()


# A value that is not the default, as TOML has it and as Settings has it.
VALUES: dict[str, tuple[str, object]] = {
    "ftp": ('"0.0.0.0:21"', Address("0.0.0.0", 21)),
    "ftps": ('"[::]:990"', Address("::", 990)),
    "http": ('"off"', None),
    "https": ("8443", Address("127.0.0.1", 8443)),
    "tls-cert": ('"cert.pem"', "cert.pem"),
    "tls-key": ('"key.pem"', "key.pem"),
    "tls-required": ("true", True),
    "tls-session-reuse": ("true", True),
    "users": ('"users"', "users"),
    "anonymous": ('"rw"', "rw"),
    "workers": ("3", 3),
    "model": ('"epoll"', "epoll"),
    "metrics": ('"localhost:9090"', Address("localhost", 9090)),
    "passive-ports": ('"50000-50100"', PortRange(50000, 50100)),
    "passive-address": ('"192.0.2.1"', "192.0.2.1"),
    "log-format": ('"json"', "json"),
    "log-file": ('"log"', "log"),
    "xferlog": ('"xferlog"', "xferlog"),
    "run-as": ('"root"', "root"),
    "keep-partial": ("true", True),
    "sync-uploads": ("true", True),
    "umask": ('"027"', 0o027),
}


def test_each_option_has_a_value_to_be_tested_with():
    assert set(VALUES) == {option.name for option in OPTIONS}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - {"directory", "config", "limits", "words"} == {
        option.field for option in OPTIONS
    }


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_each_option_can_be_set_in_the_file(made, monkeypatch, name, spelling):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    text, value = VALUES[name]
    key = name.replace("-", spelling)
    needed = "" if name == "tls-cert" else 'tls_cert = "cert.pem"\n'
    assert getattr(made(f"{needed}{key} = {text}\n"), name.replace("-", "_")) == value


@pytest.mark.parametrize("name", VALUES)
def test_what_the_command_line_says_wins(made, monkeypatch, name):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    text, _ = VALUES[name]
    field = name.replace("-", "_")
    default = getattr(Settings("."), field)
    words = {"tls_cert": "other.pem"} if name != "tls-cert" else {}
    settings = made(f"{name} = {text}\n", **words, **{field: default})
    assert getattr(settings, field) == default


def test_folder_may_stand_in_the_file(tmp_path, config):
    config.write_text(f'directory = "{tmp_path}"\n')
    assert Settings.make({"config": str(config)}).directory == str(tmp_path)
    with pytest.raises(BadSettings, match="which folder"):
        Settings.make({})


LIMIT_VALUES = {
    field.name: (
        field.metadata["high"] if field.default != field.metadata["high"] else field.metadata["low"]
    )
    for field in dataclasses.fields(Limits)
}


@pytest.mark.parametrize("name", limit_names())
def test_each_limit_can_be_set_in_the_file_and_by_the_command_line(made, name):
    value = LIMIT_VALUES[name]
    assert value != getattr(Limits(), name)
    assert getattr(made(f"[limits]\n{name} = {value}\n").limits, name) == value
    dashed = name.replace("_", "-")
    assert getattr(made(f"[limits]\n{dashed} = {value}\n").limits, name) == value
    default = getattr(Limits(), name)
    word = "off" if default is None else str(default)
    settings = made(f"[limits]\n{name} = {value}\n", limit=[f"{name}={word}"])
    assert getattr(settings.limits, name) == default
    assert getattr(made(limit=[f"{dashed}={value}"]).limits, name) == value


@pytest.mark.parametrize("name", limit_names())
def test_each_limit_has_a_unit_in_its_name_and_bounds_that_hold_its_default(name):
    field = {field.name: field for field in dataclasses.fields(Limits)}[name]
    low, high = field.metadata["low"], field.metadata["high"]
    assert field.default is None or low <= field.default <= high
    assert name.endswith(("_max", "_min", "_s", "_bytes"))
    for value in (low - 1, high + 1, -1, True, "x", "", [], float("nan"), float("inf"), None):
        if value in (0, None) and (value == low or "None" in field.type):
            continue  # off
        with pytest.raises(BadLimit, match=name):
            make_limits({name: value})


@pytest.mark.parametrize("off", [0, "off"])
def test_limit_that_may_be_off_is_off(off):
    assert make_limits({"rate_bytes_per_s_min": off}).rate_bytes_per_s_min is None
    assert make_limits({"upload_bytes_max": off}).upload_bytes_max is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp 1", "not TOML"),
        ('ftp = "x', "not TOML"),
        ("nonsense = 1", "nonsense: no such key"),
        ("worker = 1", "worker: no such key; did you mean workers?"),
        ("limit = 1", "limit: no such key"),
        ("limits = 1", "limits must be a table"),
        (
            "[limits]\nclient_max = 1",
            "client_max: no such limit; did you mean clients_max?",
        ),
        ("[limits]\nclients_max = 0", "[limits] clients_max: 0 is not a whole number from 1 to 10"),
        ("[limits]\nclients_max = 1.5", "clients_max: 1.5 is not a whole number"),
        ('[limits]\nfields_max = "x"', "fields_max: 'x' is not a whole number from 10 to 10,000"),
        ("[limits]\nrate_bytes_per_s_min = -1", "from 1 to 1,099,511,627,776, or off"),
        ("[limits]\nidle_timeout_s = 0", "idle_timeout_s: 0 is not a number from 0.1"),
        ('ftp = "here"', "ftp: 'here' is not HOST:PORT"),
        ('ftp = "::1:2121"', "stands in brackets"),
        ('ftp = ":2121"', "is not HOST:PORT"),
        ('ftp = "host:99999"', "is not HOST:PORT"),
        ('ftp = "host:٣"', "is not HOST:PORT"),
        ("ftp = true", "ftp: True is not a text: HOST:PORT"),
        ("ftp = [1]", "ftp: [1] is not a text"),
        ('tls-required = "yes"', "tls-required: 'yes' is not true or false"),
        ('anonymous = "no"', "anonymous: 'no' is not one of ro, rw, off"),
        ("workers = 0", "workers: '0' is not a whole number from 1 to 256, or auto"),
        ("workers = 257", "workers: '257'"),
        ('model = "kqueue"', "model: 'kqueue' is not one of blocking, "),
        ('passive-ports = "20-30"', "from 1024 to 65535"),
        ('passive-ports = "2000-1999"', "is not FIRST-LAST"),
        ('passive-address = "::1"', "is not an IPv4 address"),
        ('log-format = "xml"', "is not one of text, json"),
        ('run-as = "no such user"', "is not a user of this system"),
        ('umask = "8"', "is not an octal number"),
        ('umask = "1777"', "more than 777"),
        ('users = ""', "is not a path"),
        ('xferlog = "a\\u0000b"', "is not a path"),
    ],
)
def test_mistake_in_the_file_is_one_line_with_file_key_and_what_is_allowed(made, config, text, why):
    message = refused(made, text)
    assert message.startswith(f"{config}: ")
    assert why in message


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"directory": "/nowhere"}, "'/nowhere' is not a folder"),
        ({"ftp": None, "http": None}, "nothing to serve"),
        ({"http": Address("127.0.0.1", 2121)}, "127.0.0.1:2121 is named twice"),
        ({"metrics": Address("127.0.0.1", 8080)}, "127.0.0.1:8080 is named twice"),
        ({"ftps": Address("127.0.0.1", 990)}, "ftps needs tls-cert"),
        ({"https": Address("127.0.0.1", 443)}, "https needs tls-cert"),
        ({"tls_key": "key.pem"}, "tls-key needs tls-cert"),
        ({"tls_required": True}, "tls-required needs tls-cert"),
        ({"anonymous": "off"}, "nobody may log in"),
        ({"limit": ["clients_max"]}, "'clients_max' is not NAME=VALUE"),
        ({"limit": ["idle=3"]}, "--limit idle: no such limit"),
        ({"limit": ["clients_max=x"]}, "--limit clients_max: 'x' is not a whole number"),
        ({"config": "/nowhere.toml"}, "/nowhere.toml: No such file"),
    ],
    ids=str,
)
def test_mistake_of_the_command_line_is_one_line(made, words, why):
    assert why in refused(made, **words)


def test_only_root_can_become_somebody_else(made, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "only root" in refused(made, run_as="root")


def test_only_the_start_asks_for_root_and_for_the_folder(made, tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = made(directory=str(folder), run_as="root")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # as it has been told to
    folder.rmdir()
    assert settings.again() == settings


def test_two_ports_that_the_kernel_chooses_are_not_the_same(made):
    somewhere = Address("127.0.0.1", 0)
    settings = made(ftp=somewhere, http=somewhere)
    assert settings.ftp == settings.http == somewhere


def test_false_in_the_file_is_off(made):
    settings = made("http = false\nmetrics = 9000")
    assert settings.http is None
    assert settings.ftp is not None
    assert settings.metrics == ("127.0.0.1", 9000)


def test_workers_auto_is_for_the_master_to_decide(made):
    assert made('workers = "auto"').workers is None
    assert made("").workers is None
    assert made("workers = 3").workers == 3


def test_settings_again_have_what_stands_in_the_file_now(made, config):
    settings = made("[limits]\nclients_max = 5\nfields_max = 13\n", limit=["fields_max=17"])
    config.write_text("[limits]\nclients_max = 6\nfields_max = 14\n")
    again = settings.again()
    assert (again.limits.clients_max, again.limits.fields_max) == (6, 17)
    config.write_text("clients_max = 6\n")
    with pytest.raises(BadSettings):
        settings.again()


def test_file_of_settings_that_is_too_long_is_not_read_to_its_end(made, monkeypatch):
    monkeypatch.setattr(module, "CONFIG_BYTES_MAX", 8)
    assert "not TOML" in refused(made, "workers = 3\n")


VALUE = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.from_regex(r"[0-9a-z:.\[\]-]{0,20}", fullmatch=True),
)  # fmt: skip
KEYS = st.sampled_from([*VALUES, "directory", "limits"]) | st.text(max_size=5)


@given(
    document=st.dictionaries(KEYS, VALUE, max_size=3),
    limits=st.dictionaries(st.sampled_from(limit_names()) | st.text(max_size=5), VALUE, max_size=3),
)
def test_any_values_are_settings_or_one_error(document, limits):
    text = "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in document.items())
    table = "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in limits.items())
    whole = text if "limits" in document else f"{text}[limits]\n{table}"
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".toml") as file:
        file.write(whole)
        file.flush()
        assert "\n" not in error_of({"config": file.name, "directory": "."})


def error_of(words: dict[str, object]) -> str:
    try:
        Settings.make(words)
    except BadSettings as error:
        return str(error)
    return ""


def toml(value: object) -> str:
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.1f}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {value[key]}" for key in value) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("text", ["0x" + "f" * 5000, "9" * 5000])
def test_endless_numbers_are_one_error(made, text):
    for document in (f"workers = {text}", f"[limits]\nclients_max = {text}"):
        assert "digits" in refused(made, document) or "not" in refused(made, document)


@pytest.mark.parametrize("text", ["[::1]:21", "127.0.0.1:21", "example.org:0"])
def test_address_is_written_as_it_is_read(text):
    assert str(module.address(text)) == text


@pytest.mark.parametrize(("text", "value"), [("64K", 65536), ("1M", 2**20), ("131072", 131072)])
def test_limits_of_bytes_have_units(text, value):
    limits = Settings.make({"directory": ".", "limit": [f"send_buffer_bytes={text}"]}).limits
    assert limits.send_buffer_bytes == value


@pytest.mark.parametrize("word", ["backlog_max=1K", "send_buffer_bytes=1X"])
def test_what_is_no_number_of_bytes_has_none(word):
    with pytest.raises(BadSettings, match=word.partition("=")[0]):
        Settings.make({"directory": ".", "limit": [word]})
