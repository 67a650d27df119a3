"""What the kernel offers: one extern-only ``.pxd`` per C header, and errno as an exception."""
