from headrace.models.blocking import Blocking

class Aio(Blocking):
    """POSIX AIO for reads and writes of connections; the rest by blocking threads."""

    @property
    def requests(self) -> int:
        """How many aio_read and aio_write are under way, or have a result that waits."""

    @staticmethod
    def requests_made() -> int:
        """How much memory for requests this process has, in requests: it is taken again."""
