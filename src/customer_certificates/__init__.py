"""Customer Certificates: takes customers' TLS certificates and keys, and knows which are active."""

__version__ = "0.1.0"
