"""What is done with names and needs no data connection: folders, renaming, times, modes."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from headrace.serve import paths
from headrace.serve.ftp.arguments import format_time
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.replies import path_reply
from headrace.serve.users import Rights

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session
    from headrace.serve.tree import Tree

__all__ = ["ACTIONS", "path_of", "tree_of"]


def tree_of(session: Session) -> Tree:
    tree = session.tree
    assert tree is not None  # the core lets nobody in here without a login
    return tree


def path_of(session: Session, name: str) -> str:
    """A client's name as a virtual path; raises BadPath."""
    return paths.resolve(session.core.state.folder, name)


def change_folder(session: Session, command: Command) -> None:
    enter(session, command, path_of(session, command.argument))


def change_up(session: Session, command: Command) -> None:
    enter(session, command, path_of(session, ".."))


def enter(session: Session, command: Command, path: str) -> None:
    if not stat.S_ISDIR(tree_of(session).status(path).st_mode):
        session.answer(command, 550, "That is no folder.")
        return
    session.core.state.folder = path
    session.answer(command, 250, "OK")


def make_folder(session: Session, command: Command) -> None:
    path = path_of(session, command.argument)
    tree_of(session).make_folder(path)
    log_change(session, "mkdir", path=path)
    session.send(command, path_reply(257, path, "created"))


def remove_folder(session: Session, command: Command) -> None:
    path = path_of(session, command.argument)
    tree_of(session).remove_folder(path)
    log_change(session, "rmdir", path=path)
    session.answer(command, 250, "Removed.")


def delete(session: Session, command: Command) -> None:
    path = path_of(session, command.argument)
    tree_of(session).remove_file(path)
    log_change(session, "delete", path=path)
    session.answer(command, 250, "Removed.")


def rename_from(session: Session, command: Command) -> None:
    path = path_of(session, command.argument)
    tree_of(session).status(path)
    session.core.state.rename_from = path
    session.answer(command, 350, "To which name?")


def rename_to(session: Session, command: Command) -> None:
    state = session.core.state
    old, new = state.rename_from, path_of(session, command.argument)
    assert old is not None  # RNTO without RNFR is the core's
    tree_of(session).rename(old, new, replace=state.has(Rights.REPLACE))
    log_change(session, "rename", old=old, new=new)
    session.answer(command, 250, "Renamed.")


def size(session: Session, command: Command) -> None:
    """RFC 3659 section 4.

    The size that a transfer would have: of TYPE A nobody knows it without reading the file.
    """
    if session.core.state.type == "A":
        session.answer(command, 550, "SIZE is known for TYPE I only.")
        return
    session.answer(command, 213, str(file_status(session, command.argument).st_size))


def modified(session: Session, command: Command) -> None:
    """RFC 3659 section 3."""
    status = tree_of(session).status(path_of(session, command.argument))
    session.answer(command, 213, format_time(status.st_mtime))


def file_status(session: Session, name: str) -> os.stat_result:
    status = tree_of(session).status(path_of(session, name))
    if not stat.S_ISREG(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "That is no file")
    return status


def change_modified(session: Session, command: Command) -> None:
    """MFMT (draft-somers-ftp-mfxx), SITE UTIME."""
    moment = command.value
    path = path_of(session, moment.path)
    tree_of(session).change_modified(path, moment.modified_s)
    log_change(session, "utime", path=path, what={"modified": format_time(moment.modified_s)})
    if command.verb == "MFMT":
        text = f"Modify={format_time(moment.modified_s)}; {moment.path}"
        session.answer(command, 213, text)
    else:
        session.answer(command, 200, "OK")


def change_mode(session: Session, command: Command) -> None:
    path = path_of(session, command.value.path)
    tree_of(session).change_mode(path, command.value.mode)
    log_change(session, "chmod", path=path, what={"mode": f"{command.value.mode:03o}"})
    session.answer(command, 200, "OK")


def log_change(
    session: Session, event: str, *, what: dict[str, str] | None = None, **names: str
) -> None:
    """Something was changed by the client: names are logged from the served folder on."""
    user = session.core.state.user
    assert user is not None  # the core lets nobody in here without a login
    served = {key: user.served_path(path) for key, path in names.items()}
    session.worker.log.event(
        event, address=session.address, user=user.name, **served, **(what or {})
    )


ACTIONS = {
    "CWD": change_folder,
    "XCWD": change_folder,
    "CDUP": change_up,
    "XCUP": change_up,
    "MKD": make_folder,
    "XMKD": make_folder,
    "RMD": remove_folder,
    "XRMD": remove_folder,
    "DELE": delete,
    "RNFR": rename_from,
    "RNTO": rename_to,
    "SIZE": size,
    "MDTM": modified,
    "MFMT": change_modified,
    "SITE UTIME": change_modified,
    "SITE CHMOD": change_mode,
}
