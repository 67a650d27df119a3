"""Nothing here is for Python."""

class RecentAddress:
    """The last address that was converted."""
