"""The site: what the settings name is there, or one line says what is not; and its reload."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from headrace.serve.meters import Meter, Meters
from headrace.serve.passwords import Cost, hash_password
from headrace.serve.settings import BadSettings, Settings
from headrace.serve.site import Site
from headrace.serve.users import Rights, User, UserLine

CERTIFICATE = Path(__file__).parent.parent / "conformance" / "localhost.pem"
QUICK = Cost(n=16, r=1, p=1)


@pytest.fixture
def site_of(served: Path, tmp_path: Path):
    """Sites of these settings; they log into a file, and are closed at the end."""
    made: list[Site] = []

    def make(meters: Meters | None = None, **words: object) -> Site:
        words = {"directory": str(served), "log_file": str(tmp_path / "log"), **words}
        made.append(Site(Settings.make(words), meters))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates in files of a folder: one, another, RSA, and an encrypted key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificates")
    elliptic = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    for name, kind in (("one", elliptic), ("other", elliptic), ("rsa", ["rsa:2048"])):
        words = ["req", "-x509", "-newkey", *kind, "-nodes", "-days", "2", "-subj"]
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        command = [openssl, *words, f"/CN={name}", *files]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    encrypt = ["ec", "-aes256", "-passout", "pass:secret", "-in"]
    command = [openssl, *encrypt, f"{folder}/one.key", "-out", f"{folder}/encrypted.key"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


def users_file(tmp_path: Path, *users: User) -> str:
    file = tmp_path / "users"
    lines = [UserLine(user, hash_password(user.name, QUICK)) for user in users]
    file.write_text("".join(f"{line}\n" for line in lines))
    return str(file)


def common_name(context: ssl.SSLContext) -> str:
    """That of the certificate that a client is shown."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    here, there = socket.socketpair()

    def serve() -> None:
        # The client may have seen enough, and have gone, before its session tickets are written.
        with contextlib.suppress(OSError):
            with context.wrap_socket(there, server_side=True) as connection:
                connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(here) as connection:
        shown = connection.getpeercert(binary_form=True)
    thread.join()
    there.close()
    assert shown is not None
    return "other" if b"other" in shown else "one"


def test_site_of_defaults_serves_the_folder_to_anybody_who_reads(site_of, served):
    site = site_of()
    anonymous = site.users.anonymous()
    assert site.tree_of(anonymous) is site.tree
    assert site.tree.status("/file").st_size == len("inside")
    assert site.tls is None
    assert not site.users.may_write


def test_trees_of_homes_are_shared_while_somebody_has_them(site_of, no_descriptor_leaks, tmp_path):
    site = site_of()
    joe = User("joe", "/folder", Rights.ALL)
    tree = site.tree_of(joe)
    assert site.tree_of(User("ann", "/folder", Rights.ALL)) is tree
    assert {entry.name for entry in tree.scan("/", 10)} == {"file", "deep"}
    del tree
    gc.collect()
    with pytest.raises(FileNotFoundError):
        site.tree_of(User("eve", "/nowhere", Rights.ALL))
    site.close()


def test_home_that_is_a_link_out_of_the_folder_is_refused(site_of, served):
    (served / "out").symlink_to("../outside")
    with pytest.raises(PermissionError):
        site_of().tree_of(User("joe", "/out", Rights.ALL))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"users": "/nowhere/users"}, "/nowhere/users: No such file"),
        ({"tls_cert": "/nowhere/cert"}, "/nowhere/cert: No such file"),
        ({"tls_cert": str(CERTIFICATE), "tls_key": "/nowhere/key"}, "/nowhere/key: No such file"),
        ({"tls_cert": __file__}, f"{__file__}: there is no certificate in it"),
        (
            {"tls_cert": str(CERTIFICATE), "tls_key": __file__},
            f"{__file__}: there is no private key in it",
        ),
        ({"log_file": "/nowhere/log"}, "/nowhere/log: No such file"),
        ({"xferlog": "/nowhere/log"}, "/nowhere/log: No such file"),
    ],
    ids=str,
)
def test_file_that_is_missing_or_wrong_is_one_line(site_of, no_descriptor_leaks, words, why):
    with pytest.raises(BadSettings) as caught:
        site_of(**words)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "why"),
    [("other.key", "key values mismatch"), ("encrypted.key", "the key is encrypted")],
)
def test_key_that_does_not_fit_or_is_encrypted_is_one_line(site_of, certificates, key, why):
    with pytest.raises(BadSettings, match=why):
        site_of(tls_cert=f"{certificates}/one.pem", tls_key=f"{certificates}/{key}")


def test_homes_that_are_not_there_are_logged_by_the_master(site_of, served, tmp_path):
    (served / "joe").mkdir()
    users = tmp_path / "users"
    users.write_text("joe:!:/joe:ro\nann:!:/ann:ro\n")
    site = site_of(users=str(users))
    site.log_missing_homes()
    log = (tmp_path / "log").read_text()
    assert "no_home user=ann home=/ann" in log
    assert "joe" not in log
    (served / "ann").mkdir()
    assert site.reload()
    assert (tmp_path / "log").read_text().count("no_home") == 1


def test_certificate_without_its_key_says_which_option_names_one(site_of, certificates):
    with pytest.raises(BadSettings, match=r"one\.pem: .* no private key .*--tls-key"):
        site_of(tls_cert=f"{certificates}/one.pem")


def test_certificate_and_key_may_be_in_one_file_and_old_tls_is_refused(site_of):
    site = site_of(tls_cert=str(CERTIFICATE))
    assert site.tls is not None
    assert site.tls.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_reload_takes_users_certificate_and_limits(site_of, tmp_path, certificates):
    for suffix in ("pem", "key"):
        shutil.copy(certificates / f"one.{suffix}", tmp_path / f"cert.{suffix}")
    config = tmp_path / "serve.toml"
    config.write_text("[limits]\nclients_max = 1\n")
    site = site_of(
        config=str(config),
        users=users_file(tmp_path, User("joe", "/", Rights.ALL)),
        tls_cert=str(tmp_path / "cert.pem"),
        tls_key=str(tmp_path / "cert.key"),
    )
    before = site.tls
    assert common_name(before) == "one"
    assert site.gate.admit("a") is None
    assert site.gate.admit("b") is not None

    config.write_text("[limits]\nclients_max = 2\n")
    users_file(tmp_path, User("ann", "/folder", Rights.ALL))
    for suffix in ("pem", "key"):
        shutil.copy(certificates / f"other.{suffix}", tmp_path / f"cert.{suffix}")
    assert site.reload()
    assert site.settings.limits.clients_max == 2
    assert site.gate.admit("b") is None
    assert site.users.verify("joe", "joe") is None
    assert site.users.verify("ann", "ann") == User("ann", "/folder", Rights.ALL)
    assert common_name(site.tls) == "other"
    assert common_name(before) == "one"  # data connections of sessions that have it
    assert "reloaded users=1" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("broken", ["config", "users", "certificate"])
def test_reload_of_something_wrong_changes_nothing_and_says_what(
    site_of, tmp_path, certificates, broken
):
    config = tmp_path / "serve.toml"
    config.write_text("[limits]\nclients_max = 1\n")
    certificate = tmp_path / "cert.pem"
    certificate.write_text(
        (certificates / "one.pem").read_text() + (certificates / "one.key").read_text()
    )
    joe = User("joe", "/", Rights.ALL)
    site = site_of(config=str(config), users=users_file(tmp_path, joe), tls_cert=str(certificate))
    before = site.users
    config.write_text("[limits]\nclients_max = 2\n")
    file = {"config": config, "users": tmp_path / "users", "certificate": certificate}[broken]
    file.write_text("wrong\n")
    assert not site.reload()
    assert site.users is before
    assert site.settings.limits.clients_max == site.gate.limits.clients_max == 1
    assert common_name(site.tls) == "one"
    assert f'reload_failed error="{file}' in (tmp_path / "log").read_text()


@pytest.mark.parametrize("begins_with", [True, False])
def test_reload_refuses_that_tls_comes_or_goes(site_of, tmp_path, begins_with):
    config = tmp_path / "serve.toml"
    texts = ["", f'tls-cert = "{CERTIFICATE}"\n']
    config.write_text(texts[begins_with])
    site = site_of(config=str(config))
    before = site.tls
    config.write_text(texts[not begins_with])
    assert not site.reload()
    assert site.tls is before
    assert "tls-cert cannot come or go at a reload: restart" in (tmp_path / "log").read_text()


def test_reload_never_raises_whatever_goes_wrong(site_of, tmp_path, monkeypatch):
    def fail(settings: Settings) -> None:
        raise MemoryError("nothing is left")

    site = site_of()
    before = site.users
    monkeypatch.setattr("headrace.serve.site.load_users", fail)
    assert not site.reload()
    assert site.users is before
    log = (tmp_path / "log").read_text()
    assert "reload_failed" in log
    assert "nothing is left" in log


def test_reload_with_a_key_of_another_type_leaves_nothing_of_the_old_certificate(
    site_of, tmp_path, certificates
):
    file = tmp_path / "cert.pem"
    shutil.copy(certificates / "rsa.pem", file)
    key = tmp_path / "cert.key"
    shutil.copy(certificates / "rsa.key", key)
    site = site_of(tls_cert=str(file), tls_key=str(key))
    handshake(site.tls, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    shutil.copy(certificates / "one.pem", file)
    shutil.copy(certificates / "one.key", key)
    assert site.reload()
    with pytest.raises(ssl.SSLError):  # who wants RSA has nothing that can be shown
        handshake(site.tls, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    handshake(site.tls, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")


def handshake(server: ssl.SSLContext, ciphers: str) -> None:
    """Of TLS 1.2, in which the cipher names the type of the key; raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)


def test_reload_leaves_what_cannot_change_as_it_is_and_names_it(site_of, tmp_path):
    config = tmp_path / "serve.toml"
    config.write_text("workers = 1\n")
    site = site_of(config=str(config))
    config.write_text('workers = 2\nftp = "127.0.0.1:21"\n')
    assert site.reload()
    assert site.settings.workers == 1
    assert site.settings.ftp.port == 2121
    assert "needs_restart settings=ftp,workers" in (tmp_path / "log").read_text()


def test_reload_opens_the_log_anew(site_of, tmp_path):
    site = site_of()
    (tmp_path / "log").rename(tmp_path / "log.1")
    assert site.reload()
    assert "reloaded" in (tmp_path / "log").read_text()


def test_clients_of_other_workers_count_against_the_limit(site_of):
    meters = Meters(2)
    site = site_of(meters, limit=["clients_max=3"])
    other = copy.copy(meters)
    other.begin(1)
    other.add(Meter.FTP_SESSIONS)
    other.add(Meter.HTTP_SESSIONS)
    assert site.gate.admit("a") is None
    assert site.gate.admit("b") == "too many clients"


def test_worker_says_what_was_wrong_at_a_reload_only_if_the_master_has_not(site_of, tmp_path):
    users = tmp_path / "users"
    users.write_text("")
    site = site_of(users=str(users))

    def reload_in_worker() -> None:
        pid = os.fork()
        if not pid:
            site.reload()
            os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0)

    users.write_text("wrong\n")
    site.reload()
    reload_in_worker()
    assert (tmp_path / "log").read_text().count("reload_failed") == 1
    users.write_text("wrong: in another way\n")
    reload_in_worker()
    assert (tmp_path / "log").read_text().count("reload_failed") == 2
    users.write_text("")
    assert site.reload()
    users.write_text("wrong\n")
    reload_in_worker()
    assert (tmp_path / "log").read_text().count("reload_failed") == 3


def test_home_that_cannot_be_written_is_named(site_of, tmp_path, served, monkeypatch):
    """Where its user may write; one that is not there has a line of its own."""
    (served / "locked").mkdir()
    users = users_file(
        tmp_path,
        User("joe", "/locked", Rights.ALL),
        User("reader", "/locked", Rights.READ_ONLY),
        User("nobody", "/missing", Rights.ALL),
    )
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path) != served / "locked")
    site_of(users=users, anonymous="rw").log_read_only_homes()
    said = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert said == [f"not_writable user=joe home=/locked uid={os.geteuid()}"]
