"""The agent on a terminator's host: a folder that is kept equal to what should be served."""
