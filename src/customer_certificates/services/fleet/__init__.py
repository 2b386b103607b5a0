"""All users' certificates together."""
