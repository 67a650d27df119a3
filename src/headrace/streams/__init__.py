"""Streams: asyncio's readers and writers, native where bytes pass."""
