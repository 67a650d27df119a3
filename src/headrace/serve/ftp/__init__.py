"""FTP: RFC 959 and its extensions."""
