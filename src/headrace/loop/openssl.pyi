def unavailable_reason() -> str:
    """Why OpenSSL cannot be called directly in this interpreter; empty where it can."""
