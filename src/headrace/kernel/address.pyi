"""Socket addresses, for native modules."""
