"""What a session has agreed with its client: who, where, and how files are transferred."""

from __future__ import annotations

from headrace.serve.ftp.arguments import Range
from headrace.serve.ftp.facts import FACTS
from headrace.serve.ftp.states import Channel, Passage, Stage
from headrace.serve.users import Rights, User

HASHES = ("SHA-256", "SHA-512", "SHA-1", "MD5", "CRC32")
"""HASH's algorithms, the first by default (draft-bryan-ftpext-hash; IANA's names of hashes)."""


class State:
    """One session's agreements; the core's machines move it, and the session the marked ones."""

    __slots__ = (
        "channel",
        "facts",
        "folder",
        "hash_name",
        "mail",
        "mode",
        "passage",
        "protected",
        "range",
        "rename_from",
        "restart_offset",
        "rights",
        "stage",
        "type",
        "user",
        "user_name",
    )

    def __init__(self, channel: Channel = Channel.CLEAR) -> None:
        self.stage = Stage.GREETED
        self.channel = channel
        self.protected = channel is not Channel.CLEAR
        """PROT P: data connections are encrypted.  With TLS from the beginning they are at first,
        which is what clients of implicit TLS take for granted."""
        self.user: User | None = None
        """The session sets it by log_in(), before it answers 230."""
        self.user_name: str | None = None
        """What USER said last."""
        self.mail = ""
        """What an anonymous client said for a password; the session sets it, for the log."""
        self.rights = 0
        self.folder = "/"
        """The session sets it after CWD."""
        self.rename_from: str | None = None
        """The session sets it before it answers RNFR with 350."""
        self._initial_parameters()

    def _initial_parameters(self) -> None:
        # RFC 959 section 5.1: the defaults are ASCII non-print, file, stream.
        self.passage = Passage.ANY
        self.type = "A"
        """"A" or "I"."""
        self.mode = "S"
        """"S" or "Z"."""
        self.restart_offset = 0
        """REST: a transfer begins there."""
        self.range: Range | None = None
        """RANG: only these bytes are transferred, or hashed."""
        self.facts: tuple[str, ...] = FACTS
        """OPTS MLST: what MLSD and MLST say of a file."""
        self.hash_name = HASHES[0]

    def __repr__(self) -> str:
        who = self.user.name if self.user else "nobody"
        return f"<State {self.stage.value}, {self.channel.value}, {who} in {self.folder!r}>"

    @property
    def logged_in(self) -> bool:
        return self.user is not None

    def log_in(self, user: User) -> None:
        """The session knows who it is, and answers 230."""
        self.user = user
        self.rights = user.rights.value
        self.folder = "/"

    def has(self, rights: Rights) -> bool:
        """The client has one of these rights at least."""
        return bool(self.rights & rights.value)

    def forget_login(self) -> None:
        """Nobody is logged in (USER, before it is answered)."""
        self.user = self.user_name = self.rename_from = None
        self.mail = ""
        self.rights = 0
        self.folder = "/"
        self.stage = Stage.GREETED
        self.forget_position()

    def forget_position(self) -> None:
        self.restart_offset = 0
        self.range = None

    def reinitialize(self) -> None:
        """As when the connection came (REIN, AUTH), but for what encrypts it and the data."""
        self.forget_login()
        self._initial_parameters()
