"""Virtual paths: what a client calls a file, below its own home.

A virtual path begins with ``/``, has one ``/`` between its names, none at its end, and no name that
is empty, ``.`` or ``..``.  It is text; bytes of a name that are no UTF-8 are surrogate escapes, so
that each file has exactly one virtual path, and each virtual path exactly one run of bytes.

``..`` is taken out here, in the text, before the kernel sees a path: at the root it stays at the
root, as in a Unix process whose root folder that is.  What a symbolic link does is not decided
here: see `headrace.serve.beneath`.
"""

from __future__ import annotations

__all__ = [
    "NAME_BYTES_MAX",
    "PATH_BYTES_MAX",
    "BadPath",
    "decode",
    "encode",
    "join",
    "resolve",
    "split",
]

PATH_BYTES_MAX = 4095
"""Linux' PATH_MAX without the NUL that ends it: no call takes a longer path."""
NAME_BYTES_MAX = 255
"""Linux' NAME_MAX: no file system has longer names."""
ENCODING = "utf-8"
UNDECODABLE = "surrogateescape"


class BadPath(ValueError):
    """The client's words are no path: the message says why, and never repeats them."""


def decode(name: bytes) -> str:
    """A name as the kernel or a client has it -> text; what is no UTF-8 becomes surrogate escapes.

    Overlong forms are no UTF-8 (RFC 3629 section 3): ``C0 AF`` is two strange bytes, never a ``/``.
    """
    return name.decode(ENCODING, UNDECODABLE)


def encode(path: str) -> bytes:
    """The opposite of `decode`.

    Raises:
        BadPath: there is half a surrogate pair in it, which stands for no byte.
    """
    try:
        return path.encode(ENCODING, UNDECODABLE)
    except UnicodeEncodeError:
        raise BadPath("a character that no name can have") from None


def resolve(folder: str, name: str) -> str:
    """A client's words -> a virtual path; relative words are below ``folder``, a virtual path.

    Empty words mean ``folder`` itself.  It asks no file system: there may be no such file.

    Raises:
        BadPath: a NUL, half a surrogate pair, a name of more than 255 bytes or a path of more than
            4,095.
    """
    if "\0" in name:
        raise BadPath("a NUL character in a path")
    # A part beside what it is made of may spell one character: one file, one virtual path.
    encoded = encode(name)
    if not name.isascii():
        name = decode(encoded)
    if len(encoded) > PATH_BYTES_MAX:
        raise BadPath(f"a path of more than {PATH_BYTES_MAX:,} bytes")
    path = _normal(name if name.startswith("/") else f"{folder}/{name}")
    _check_length(path)
    return path


def _normal(path: str) -> str:
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if names:
                names.pop()
        elif name and name != ".":
            names.append(name)
    return "/" + "/".join(names)


def _check_length(path: str) -> None:
    if len(path) * 4 <= NAME_BYTES_MAX:  # no character takes more than four bytes
        return
    encoded = encode(path)
    if len(encoded) > PATH_BYTES_MAX:
        raise BadPath(f"a path of more than {PATH_BYTES_MAX:,} bytes")
    if any(len(name) > NAME_BYTES_MAX for name in encoded.split(b"/")):
        raise BadPath(f"a name of more than {NAME_BYTES_MAX} bytes")


def split(path: str) -> tuple[str, str]:
    """A virtual path -> the virtual path of its folder, and its last name; the root's is ''."""
    folder, _, name = path.rpartition("/")
    return folder or "/", name


def join(folder: str, name: str) -> str:
    """The virtual path of ``name`` in ``folder``; ``name`` is one name, as a listing has it."""
    return f"/{name}" if folder == "/" else f"{folder}/{name}"
