from typing import Any

from headrace.loop.byte_sink import ByteSink

class ProtocolCore(ByteSink):
    """Data go from the receive buffer into the reader."""

    def __init__(
        self, stream_reader: Any, client_connected_cb: Any = None, loop: Any = None
    ) -> None: ...
    _loop: Any
    _transport: Any
    _client_connected_cb: Any
    _task: Any
    _stream_writer: Any
    _strong_reader: Any
    _stream_reader_wr: Any
    _source_traceback: Any
    _accepted: Any
    _over_ssl: bool
    _reject_connection: bool
    _paused: bool
    _connection_lost: bool
    @property
    def _stream_reader(self) -> Any: ...
    @property
    def _drain_waiters(self) -> Any: ...
    @property
    def _closed(self) -> Any: ...
    def _connection_is_over(self, error: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
