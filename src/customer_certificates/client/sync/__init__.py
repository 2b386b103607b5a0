"""The agent on a terminator's host, which keeps a folder of active certificates."""
