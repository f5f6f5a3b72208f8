"""The `maloca` command: one file per command group, and the supervisor."""
