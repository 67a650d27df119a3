"""The ``headrace`` command's subcommands: one file each, ``main(words) -> exit code``."""
