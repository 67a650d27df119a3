"""One file per I/O model, the contract they keep, and the reactor that readiness models share."""
