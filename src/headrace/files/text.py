"""A text file: as io.TextIOWrapper, over a binary file whose methods are awaited.

Bytes come in chunks and a chunk may end within a character, so there is an incremental decoder.
Where a character stands in the file shows only when the bytes before it are decoded: each chunk is
kept, with the decoder's state before it, until its text was read; tell() decodes the beginning of
one once more.  Its answer is opaque, as TextIOWrapper's: where to seek, and what to do there.
"""

from __future__ import annotations

import codecs
import io
import locale
import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from headrace.files.binary import BinaryFile
from headrace.files.descriptor import Turns
from headrace.files.settling import give_way, is_turn_over

# As TextIOWrapper's.
CHUNK_BYTES = 8192
# tell()'s answer is one number made of five, of so many bits each.
COOKIE_BITS = 64
# Whose decoder looks for a byte order mark first, and takes flags 0 where none is to come.
MARKED_CODECS = {"utf-16", "utf-32", "utf-8-sig"}


@dataclass(frozen=True)
class Cookie:
    """Where tell() was: seek there, set the decoder's flags, feed it, and skip."""

    offset: int
    flags: int = 0
    feed_bytes: int = 0
    skip_characters: int = 0

    def pack(self) -> int:
        parts = (self.skip_characters, self.feed_bytes, self.flags, self.offset)
        packed = 0
        for part in parts:
            packed = packed << COOKIE_BITS | part
        return packed

    @classmethod
    def unpack(cls, packed: int) -> Cookie:
        parts = []
        for _ in range(4):
            packed, part = divmod(packed, 1 << COOKIE_BITS)
            parts.append(part)
        return cls(*parts)


@dataclass
class Piece:
    """A chunk of the file that was decoded, and the decoder's state before that."""

    offset: int
    state: tuple[bytes, int]
    chunk: bytes
    length: int  # characters


class TextFile:
    """What open() makes in text mode."""

    def __init__(
        self,
        buffer: BinaryFile,
        mode: str,
        encoding: str,
        errors: str = "strict",
        newline: str | None = None,
        line_buffering: bool = False,
    ) -> None:
        self._codec = codecs.lookup(encoding)
        self._buffer = buffer
        self._mode = mode
        self._encoding = encoding
        self._errors = errors
        self._newline = newline
        self._line_buffering = line_buffering
        self._write_newline = newline if newline in ("\r", "\r\n") else "\n"
        self._decoder = self._new_decoder()
        self._flags_new: int = self._decoder.getstate()[1]
        self._encoder = self._codec.incrementalencoder(errors)
        self._turns = Turns()
        # The text that was decoded; what stands before `_start` was read.
        self._text = ""
        self._start = 0
        self._more: list[str] = []  # decoded, and to be joined to the text
        self._pieces: list[Piece] = []
        self._at_end = False
        if buffer.writable() and buffer.seekable() and buffer.tell():
            self._encoder.setstate(0)  # no byte order mark within a file

    def __repr__(self) -> str:
        return f"<TextFile name={self.name!r} mode={self.mode!r} encoding={self.encoding!r}>"

    @staticmethod
    def encoding_named(encoding: str | None) -> str:
        """The encoding that open() means; LookupError if it is unknown."""
        if encoding is None:
            encoding = locale.getpreferredencoding(False)
        elif encoding == "locale":
            encoding = locale.getencoding()
        if not codecs.lookup(encoding)._is_text_encoding:
            raise LookupError(
                f"{encoding!r} is not a text encoding; use codecs.open() to handle arbitrary codecs"
            )
        return encoding

    def _new_decoder(self) -> Any:
        decoder = self._codec.incrementaldecoder(self._errors)
        if self._newline in (None, ""):
            return io.IncrementalNewlineDecoder(decoder, self._newline is None)
        return decoder

    # What it is.

    @property
    def buffer(self) -> BinaryFile:
        """The binary file below."""
        return self._buffer

    @property
    def mode(self) -> str:
        return self._mode

    @property
    def name(self) -> Any:
        """What open() was called with."""
        return self._buffer.name

    @property
    def encoding(self) -> str:
        return self._encoding

    @property
    def errors(self) -> str:
        return self._errors

    @property
    def line_buffering(self) -> bool:
        return self._line_buffering

    @property
    def newlines(self) -> str | tuple[str, ...] | None:
        """The kinds of newlines that were read so far, where open() was told no newline."""
        newlines: str | tuple[str, ...] | None = getattr(self._decoder, "newlines", None)
        return newlines

    @property
    def closed(self) -> bool:
        return self._buffer.closed

    def fileno(self) -> int:
        """The descriptor.  Its position is the kernel's, not this file's."""
        return self._buffer.fileno()

    def isatty(self) -> bool:
        return self._buffer.isatty()

    def readable(self) -> bool:
        return self._buffer.readable()

    def writable(self) -> bool:
        return self._buffer.writable()

    def seekable(self) -> bool:
        return self._buffer.seekable()

    # Reading.

    async def read(self, size: int | None = -1) -> str:
        """Read *size* characters, fewer at the end only; all that is left if negative."""
        self._check_readable()
        await self._turns.take()
        try:
            if is_turn_over():
                await give_way()
            if size is None or size < 0:
                return await self._read_all()
            await self._fill_to(size)
            return self._take(size)
        finally:
            self._turns.leave()

    async def readline(self, size: int | None = -1) -> str:
        """Read up to and with the next newline, *size* characters at most; "" at the end."""
        self._check_readable()
        limit = -1 if size is None else size
        is_late = False
        if not self._turns.taken:
            end = self._line_end(self._start, limit)
            if end >= 0:
                is_late = is_turn_over()
                if not is_late:
                    return self._take(end - self._start)
        await self._turns.take()
        try:
            if is_late:
                await give_way()
            return await self._read_line(limit)
        finally:
            self._turns.leave()

    async def readlines(self, hint: int | None = -1) -> list[str]:
        """Read lines to the end, or until they have *hint* characters together."""
        lines = []
        size = 0
        while line := await self.readline():
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __aiter__(self) -> TextFile:
        self._check_readable()
        return self

    async def __anext__(self) -> str:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    # Writing.

    async def write(self, text: str) -> int:
        """Write *text*, encoded, as BinaryFile.write() does; how many characters."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        translated = text
        if self._write_newline != "\n":
            translated = text.replace("\n", self._write_newline)
        state = self._encoder.getstate()
        data = self._encoder.encode(translated)
        self._forget()
        try:
            await self._buffer.write(data)
        except BaseException:
            # Of what is not encoded byte by byte the beginning is still to be written.
            self._encoder.setstate(state)
            raise
        finally:
            self._restart_decoder()
        if self._line_buffering and ("\n" in text or "\r" in text):
            await self.flush()
        return len(text)

    async def writelines(self, lines: Iterable[str]) -> None:
        """Write each of *lines*; no newlines are added."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Give the kernel what is in the buffer.  That it reaches the disk is fsync()'s affair."""
        await self._buffer.flush()

    async def fsync(self) -> None:
        """flush(), and wait until all of the file is on the disk."""
        await self._buffer.fsync()

    async def fdatasync(self) -> None:
        """fsync() of the contents, and of no more than is needed to read them."""
        await self._buffer.fdatasync()

    async def truncate(self, position: int | None = None) -> int:
        """Make the file *position* bytes long, by default up to tell(); the position stays."""
        if position is None:
            await self.flush()  # what is appended stands at the end, wherever tell() was
            position = Cookie.unpack(self.tell()).offset
        return await self._buffer.truncate(position)

    # The position.

    def tell(self) -> int:
        """Where the next character is read or written: an opaque number for seek()."""
        place = self._buffer.tell()
        consumed = self._start
        for piece in self._pieces:
            if consumed <= piece.length and (consumed < piece.length or piece is self._pieces[-1]):
                return self._cookie(piece, consumed).pack()
            consumed -= piece.length
        waiting, flags = self._decoder.getstate()
        return self._place(place - len(waiting), flags).pack()

    async def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Move to what tell() has answered, or to the end; where it is then."""
        self._buffer.check_open()
        if whence == os.SEEK_CUR:
            if position:
                raise io.UnsupportedOperation("can't do nonzero cur-relative seeks")
            position = self.tell()
        elif whence == os.SEEK_END:
            if position:
                raise io.UnsupportedOperation("can't do nonzero end-relative seeks")
        elif whence != os.SEEK_SET:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        elif position < 0:
            raise ValueError(f"negative seek position {position!r}")
        await self._turns.take()
        try:
            if whence == os.SEEK_END:
                position = await self._buffer.seek(0, os.SEEK_END)
                self._forget()
                position = self.tell()
            else:
                await self._seek_cookie(Cookie.unpack(position))
        finally:
            self._turns.leave()
        if position:
            self._encoder.setstate(0)
        else:
            self._encoder.reset()
        return position

    # The end.

    async def close(self) -> None:
        """Flush and close; may be called twice."""
        await self._buffer.close()

    aclose = close

    async def __aenter__(self) -> TextFile:
        self._buffer.check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        where: TracebackType | None = None,
    ) -> None:
        await self.close()

    # What they are made of.  Who calls has the turn.

    def _check_readable(self) -> None:
        if not self.readable():
            raise io.UnsupportedOperation("not readable")

    async def _read_all(self) -> str:
        data = await self._buffer.read()
        text: str = self._text[self._start :] + self._decoder.decode(data, final=True)
        self._forget()
        return text

    async def _read_line(self, limit: int) -> str:
        searched = self._start
        while True:
            end = self._line_end(searched, limit)
            if end >= 0:
                return self._take(end - self._start)
            # The last character may be the first half of a newline.
            there = max(len(self._text) - 1 - self._start, 0)
            if not await self._fill():
                return self._take(len(self._text) - self._start)
            searched = self._start + there

    def _line_end(self, searched: int, limit: int) -> int:
        """Where in the text the next line ends, searched from *searched* on; -1 if nowhere."""
        stop = len(self._text) if limit < 0 else min(self._start + limit, len(self._text))
        end = -1
        if self._newline in (None, "\n"):
            end = self._text.find("\n", searched, stop) + 1
        elif self._newline == "":
            end = self._any_line_end(searched, stop)
        else:
            assert self._newline is not None
            end = self._text.find(self._newline, searched, stop) + len(self._newline)
            if end < len(self._newline) + searched:
                end = 0
        if end > 0:
            return end
        return stop if 0 <= limit == stop - self._start else -1

    def _any_line_end(self, searched: int, stop: int) -> int:
        ends = [at + 1 for at in (self._text.find(c, searched, stop) for c in "\n\r") if at >= 0]
        if not ends:
            return 0
        end = min(ends)
        if self._text[end - 1] == "\r" and self._text[end : min(end + 1, stop)] == "\n":
            end += 1
        return end

    async def _fill(self) -> bool:
        """Read and decode a chunk more; False at the end."""
        text, is_end = await self._read_chunk()
        self._text += text
        return not is_end

    async def _fill_to(self, size: int) -> None:
        """Have *size* characters, fewer at the end; joined once, for each joining copies all."""
        missing = size - (len(self._text) - self._start)
        is_end = False
        try:
            while missing > 0 and not is_end:
                text, is_end = await self._read_chunk()
                self._more.append(text)
                missing -= len(text)
        finally:
            self._text += "".join(self._more)
            self._more.clear()

    async def _read_chunk(self) -> tuple[str, bool]:
        """The text of a chunk more, which is the caller's to keep, and whether it was the end."""
        chunk = await self._buffer.read1(CHUNK_BYTES)
        state = self._decoder.getstate()
        text: str = self._decoder.decode(chunk, final=not chunk)
        self._drop_read_pieces()
        if self._buffer.seekable():
            offset = self._buffer.tell() - len(chunk)
            self._pieces.append(Piece(offset, state, chunk, len(text)))
        else:
            self._text, self._start = self._text[self._start :], 0
        return text, not chunk

    def _drop_read_pieces(self) -> None:
        while self._pieces and self._pieces[0].length <= self._start:
            length = self._pieces.pop(0).length
            self._text = self._text[length:]
            self._start -= length

    def _take(self, length: int) -> str:
        text = self._text[self._start : self._start + length]
        self._start += len(text)
        return text

    def _forget(self) -> None:
        """What was read ahead is nothing any more: it was written, or another place is next."""
        self._text, self._start = "", 0
        self._more.clear()
        self._pieces.clear()
        self._restart_decoder()

    def _restart_decoder(self) -> None:
        """No character is begun here.  A mark is looked for at the file's beginning only."""
        flags = self._decoder.getstate()[1]
        if isinstance(self._decoder, io.IncrementalNewlineDecoder):
            flags &= ~1  # its own: that it has kept back half a newline
        self._decoder.reset()
        if self._codec.name not in MARKED_CODECS:
            return
        if self._buffer.tell() if self._buffer.seekable() else flags != self._flags_new:
            # In the byte order that is known; else in the machine's, as it is written.
            self._decoder.setstate((b"", 0 if flags == self._flags_new else flags))

    # Places in the file.

    def _cookie(self, piece: Piece, consumed: int) -> Cookie:
        """The place behind the first *consumed* characters of *piece*."""
        waiting, flags = piece.state
        start = piece.offset - len(waiting)
        if consumed == 0:
            return self._place(start, flags)
        if not piece.chunk:
            # What the end of the file has brought forth: it is the last piece.
            return self._place(piece.offset, self._decoder.getstate()[1])
        decoder = self._new_decoder()
        low, high = 1, len(piece.chunk)
        while low < high:
            middle = (low + high) // 2
            if self._decoded(decoder, piece, middle) < consumed:
                low = middle + 1
            else:
                high = middle
        if self._decoded(decoder, piece, low) == consumed:
            waiting, flags = decoder.getstate()
            return Cookie(piece.offset + low - len(waiting), flags)
        # One byte more brings several characters at once.
        before = self._decoded(decoder, piece, low - 1)
        waiting, flags = decoder.getstate()
        start = piece.offset + low - 1 - len(waiting)
        return Cookie(start, flags, len(waiting) + 1, consumed - before)

    def _place(self, offset: int, flags: int) -> Cookie:
        """Where nothing was fed; the beginning of the file is 0, whatever the decoder."""
        return Cookie(offset, flags) if offset else Cookie(0)

    def _decoded(self, decoder: Any, piece: Piece, size: int) -> int:
        """How many characters the first *size* bytes of *piece* are."""
        decoder.setstate(piece.state)
        return len(decoder.decode(piece.chunk[:size]))

    async def _seek_cookie(self, cookie: Cookie) -> None:
        await self._buffer.seek(cookie.offset)
        self._forget()
        if cookie.pack():
            self._decoder.setstate((b"", cookie.flags))
        # Else the decoder, new, looks for a byte order mark.
        if not cookie.skip_characters:
            return
        chunk = await self._buffer.read(cookie.feed_bytes)
        state = self._decoder.getstate()
        text = self._decoder.decode(chunk)
        if len(text) < cookie.skip_characters:
            raise OSError("can't restore logical file position")
        self._text, self._start = text, cookie.skip_characters
        self._pieces.append(Piece(cookie.offset, state, chunk, len(text)))
