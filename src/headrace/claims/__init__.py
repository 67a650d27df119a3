"""``headrace claims``: what is said about Unix I/O models, measured instead of repeated."""
