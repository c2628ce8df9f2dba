"""The built-in kinds: their defaults, their validation, and the versions they are served in."""
