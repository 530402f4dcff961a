"""The ``avatargen`` command."""
