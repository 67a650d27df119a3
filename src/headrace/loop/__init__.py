"""The asyncio face: the event loop, its transports, servers and sock_* methods."""
