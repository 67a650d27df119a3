"""errno -> exception, for native modules."""
