"""A customer's certificates: the list, one certificate, uploads, replacements, versions."""
