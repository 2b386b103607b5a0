"""Which TLS clients refuse which certificates: real browsers against a real server."""
