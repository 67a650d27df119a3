import ssl

class TlsEngine:
    """Turns ciphertext into plaintext and back, without input and output of its own."""

    @property
    def tls(self) -> ssl.SSLObject: ...

class MemoryEngine(TlsEngine):
    """Through `ssl.MemoryBIO` and `ssl.SSLObject`."""

class DirectEngine(TlsEngine):
    """Through the functions of the OpenSSL that `ssl` has loaded."""
