"""An errno as the reply that tells the client what to do about it (RFC 959 section 4.2)."""

import errno

from headrace.serve.ftp.ports import NoPort

__all__ = ["reply_to_error"]

DENIED = (550, "Permission denied.")
# 5yz: it will not work next time either; 4yz: it may.
REPLIES: dict[int, tuple[int, str]] = {
    errno.ENOENT: (550, "There is no such file or folder."),
    errno.ENOTDIR: (550, "There is no such folder."),
    errno.EISDIR: (550, "That is a folder."),
    errno.EEXIST: (550, "The name is taken."),
    errno.ENOTEMPTY: (550, "The folder is not empty."),
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    # A symbolic link out of the tree, or in a circle: nobody is told what lies outside.
    errno.EXDEV: DENIED,
    errno.ELOOP: DENIED,
    errno.EROFS: (550, "Nothing can be changed here."),
    errno.ENAMETOOLONG: (553, "The name is too long."),
    errno.EBUSY: (450, "The file is in use."),
    errno.ETXTBSY: (450, "The file is in use."),
    errno.ENOSPC: (452, "The disk is full."),
    errno.EDQUOT: (552, "The quota is used up."),
    errno.EFBIG: (552, "The file is too large."),
    errno.EMFILE: (450, "The server is busy; try again later."),
    errno.ENFILE: (450, "The server is busy; try again later."),
    errno.ENOBUFS: (450, "The server is busy; try again later."),
    errno.ENOMEM: (450, "The server is busy; try again later."),
}


def reply_to_error(error: OSError) -> tuple[int, str]:
    """Code and text."""
    if isinstance(error, NoPort):
        return 425, "No port is free for a data connection; try again later."
    known = REPLIES.get(error.errno or 0)
    if known is not None:
        return known
    text = error.strerror or str(error)
    return 550, f"{text[:1].upper()}{text[1:]}."
