"""Reads, checks and orders certificates. Pure: no I/O, no clock, no downloads."""
