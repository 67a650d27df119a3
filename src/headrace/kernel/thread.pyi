"""Which thread is this?  For native modules."""
