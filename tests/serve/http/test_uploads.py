"""PUT: whole or not at all, and only where rights, conditions and limits allow it."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import http.client
import os
import socket
import threading

import pytest
from http_server import WAIT_S_MAX, read_all, responses

from headrace.serve.http.core import Request
from headrace.serve.http.files import entity_tag
from headrace.serve.http.uploads import begin
from headrace.serve.passwords import Cost, hash_password
from headrace.serve.upload import RESERVED_PREFIX, Upload

PUT = b"PUT /%b HTTP/1.1\r\nHost: h\r\n"


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.startswith(RESERVED_PREFIX)]


@pytest.fixture
def users(tmp_path):
    """joe may write and has a quota, ann may create only, bob may read only."""
    cost = Cost(n=2**4, r=1, p=1)
    lines = [
        f"joe:{hash_password('secret', cost)}:/docs:rw::1M",
        f"ann:{hash_password('secret', cost)}:/:lrc",
        f"bob:{hash_password('secret', cost)}:/:ro",
    ]
    file = tmp_path / "users"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_upload_makes_and_replaces_a_file(serve, folder):
    with serve(anonymous="rw") as server:
        made = server.ask("PUT", "/new%20file", b"first")
        assert (made.status, made.headers["location"]) == (201, "/new%20file")
        assert server.ask("GET", "/new%20file").headers["etag"] == made.headers["etag"]
        again = server.ask("PUT", "/new%20file", b"second")
        assert (again.status, again.body) == (204, b"")
        assert again.headers["etag"] != made.headers["etag"]
        assert (folder / "new file").read_bytes() == b"second"
        assert server.ask("PUT", "/nothing", b"").status == 201
        assert (folder / "nothing").read_bytes() == b""


def test_upload_of_chunks(serve, folder):
    with serve(anonymous="rw") as server:
        body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        data = PUT % b"c" + b"Transfer-Encoding: chunked\r\n\r\n" + body
        got = responses(server.raw(data + b"GET /c HTTP/1.1\r\nHost: h\r\n\r\n"))
        assert [response.status for response in got] == [201, 200]
        assert got[1].body == b"hello world"


def test_upload_waits_to_be_asked(serve, folder):
    with serve(anonymous="rw") as server, server.connect() as sock:
        sock.sendall(PUT % b"e" + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        sock.shutdown(socket.SHUT_WR)
        assert responses(read_all(sock))[0].status == 201


def test_upload_that_breaks_off_leaves_the_old_file(serve, folder):
    with serve(anonymous="rw") as server:
        for ending in (b"Content-Length: 9999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"):
            with server.connect() as sock:
                sock.sendall(PUT % b"small" + ending + b"part")
                server.wait(lambda: any(s._uploading for s in server.sessions))
            server.wait(lambda: not server.sessions)
        assert (folder / "small").stat().st_size == 1000
        bad = PUT % b"small" + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"
        assert responses(server.raw(bad))[0].status == 400
        assert (folder / "small").stat().st_size == 1000
        assert temporaries(folder) == []


def test_upload_is_invisible_until_it_is_whole(serve, folder):
    with serve(anonymous="rw") as server, server.connect() as sock:
        sock.sendall(PUT % b"new" + b"Content-Length: 8\r\n\r\npart")
        server.wait(lambda: any(s._uploading for s in server.sessions))
        assert server.ask("GET", "/new").status == 404
        sock.sendall(b"rest")
        sock.shutdown(socket.SHUT_WR)
        assert responses(read_all(sock))[0].status == 201


def test_upload_obeys_conditions(serve, folder):
    with serve(anonymous="rw") as server:
        tag = server.ask("GET", "/small").headers["etag"]
        ask = server.ask
        assert ask("PUT", "/small", b"x", If_None_Match="*").status == 412
        assert ask("PUT", "/fresh", b"x", If_None_Match="*").status == 201
        assert ask("PUT", "/small", b"x", If_Match='"other"').status == 412
        assert ask("PUT", "/none", b"x", If_Match="*").status == 412
        assert ask("PUT", "/small", b"x", If_Match=tag).status == 204
        assert ask("PUT", "/small", b"y", If_Match=tag).status == 412
        assert (folder / "small").read_bytes() == b"x"


def test_of_two_uploads_with_the_same_condition_one_succeeds(make_site, folder, monkeypatch):
    """Look and rename are one step to who looks as well: the second waits, and then sees."""
    site = make_site(anonymous="rw")
    tag = entity_tag(os.stat(folder / "small"))
    request = Request(b"PUT", b"/small", 1, {b"if-match": tag})
    user = site.users.anonymous()
    both = [begin(site.tree, user, "/small", request, None) for _ in range(2)]
    for uploading in both:
        uploading.take(b"new")
    commit, met = Upload.commit, threading.Barrier(2)

    def meet_and_commit(upload):
        with contextlib.suppress(threading.BrokenBarrierError):
            met.wait(0.2)  # nobody comes: the other has to wait for us
        commit(upload)

    monkeypatch.setattr(Upload, "commit", meet_and_commit)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda uploading: uploading.commit(), both))
    assert sorted(answer.status for answer in answers) == [204, 412]
    assert temporaries(folder) == []


def test_upload_sees_what_changes_meanwhile(serve, folder):
    with serve(anonymous="rw") as server:
        tag = server.ask("GET", "/small").headers["etag"].encode()
        for condition, name in ((b"If-Match: " + tag, b"small"), (b"If-None-Match: *", b"new")):
            with server.connect() as sock:
                length = b"\r\nContent-Length: 4\r\n\r\nab"
                sock.sendall(PUT % name + condition + length)
                server.wait(lambda: any(s._uploading for s in server.sessions))
                (folder / name.decode()).write_text("meanwhile")
                sock.sendall(b"cd")
                sock.shutdown(socket.SHUT_WR)
                assert responses(read_all(sock))[0].status == 412
            assert (folder / name.decode()).read_text() == "meanwhile"
        assert temporaries(folder) == []


def test_upload_that_cannot_be(serve, folder):
    with serve(anonymous="rw") as server:
        ask = server.ask
        assert ask("PUT", "/docs", b"x").status == 409
        assert ask("PUT", "/docs/", b"x").status == 409
        assert ask("PUT", "/", b"x").status == 409
        assert ask("PUT", "/no/folder", b"x").status == 409
        assert ask("PUT", f"/{RESERVED_PREFIX}x", b"x").status == 403
        assert ask("PUT", "/x", b"x", Content_Range="bytes 0-0/2").status == 400
        assert ask("PUT", "/x", b"x", Content_Encoding="gzip").status == 415
        assert ask("PUT", "/x", b"x", Content_Encoding="identity").status == 201
        assert responses(server.raw(PUT % b"x" + b"\r\n"))[0].status == 411


def test_upload_has_a_limit(serve, folder):
    with serve(anonymous="rw", limit=["upload_bytes_max=1000"]) as server:
        assert server.ask("PUT", "/x", bytes(1000)).status == 201
        assert server.ask("PUT", "/y", bytes(1001)).status == 413
        chunked = PUT % b"z" + b"Transfer-Encoding: chunked\r\n\r\n"
        chunk = b"1f4\r\n" + bytes(500) + b"\r\n"
        assert responses(server.raw(chunked + chunk * 3 + b"0\r\n\r\n"))[0].status == 413
        assert not (folder / "z").exists()
        assert temporaries(folder) == []


def test_upload_needs_the_right(serve, folder, users):
    with serve(anonymous="ro", users=users) as server:
        refused = server.ask("PUT", "/new", b"x")
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Basic realm=")
        joe, ann, bob = (basic(name, "secret") for name in ("joe", "ann", "bob"))
        assert server.ask("PUT", "/new", b"x", Authorization=bob).status == 403
        assert server.ask("PUT", "/new", b"x", Authorization=ann).status == 201
        assert server.ask("PUT", "/new", b"x", Authorization=ann).status == 403
        assert server.ask("PUT", "/new", b"x", Authorization=joe).status == 201
        assert (folder / "docs" / "new").exists()
        assert server.ask("GET", "/note.txt", Authorization=joe).body == b"a note\n"


def test_upload_keeps_the_quota(serve, folder, users):
    joe = basic("joe", "secret")
    with serve(users=users) as server:
        assert server.ask("PUT", "/a", bytes(700_000), Authorization=joe).status == 201
        assert server.ask("PUT", "/b", bytes(700_000), Authorization=joe).status == 507
        assert server.ask("PUT", "/a", bytes(800_000), Authorization=joe).status == 204
        chunk = b"61a80\r\n" + bytes(400_000) + b"\r\n"
        fields = f"Authorization: {joe}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert responses(server.raw(PUT % b"b" + fields + chunk))[0].status == 507
        assert not (folder / "docs" / "b").exists()


def test_login_is_asked_for_where_nobody_is_anonymous(serve, users):
    with serve(anonymous="off", users=users) as server:
        assert server.ask("GET", "/small").status == 401
        assert server.ask("GET", "/small", Authorization=basic("bob", "secret")).status == 200
        assert server.ask("GET", "/small", Authorization="Bearer x").status == 401
        assert server.ask("GET", "/small", Authorization="Basic !!!").status == 401


def test_login_that_fails_is_slow_and_then_refused(serve, users):
    limits = ["login_delay_s_max=0", "login_failures_max=3", "login_lockout_s=59.5"]
    with serve(users=users, limit=limits) as server:
        for _ in range(3):
            assert server.ask("GET", "/small", Authorization=basic("bob", "no")).status == 401
        wrong = server.ask("GET", "/small", Authorization=basic("bob", "secret"))
        assert (wrong.status, wrong.headers["retry-after"]) == (429, "60")
        assert server.ask("GET", "/small").status == 200


def test_who_is_locked_out_cannot_guess_what_others_have_logged_in_with(serve, users):
    limits = ["login_delay_s_max=0", "login_failures_max=3", "login_lockout_s=59.5"]
    right, wrong = basic("bob", "secret"), basic("bob", "no")
    with serve(users=users, limit=limits) as server:
        there = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S_MAX)
        with contextlib.closing(there):

            def say(authorization):
                there.request("GET", "/small", headers={"Authorization": authorization})
                with there.getresponse() as response:
                    response.read()
                    return response.status

            assert say(right) == 200  # and is remembered
            for _ in range(3):
                assert server.ask("GET", "/small", Authorization=wrong).status == 401
            assert server.ask("GET", "/small", Authorization=right).status == 429
            assert say(right) == 200  # who has logged in before stays
            assert say(wrong) == 429
