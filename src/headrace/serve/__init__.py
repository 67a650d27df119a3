"""The file server: FTP, FTPS and HTTP to many clients at once (docs/design/serve.md)."""
