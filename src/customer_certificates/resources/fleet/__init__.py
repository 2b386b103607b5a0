"""The resources of operators about the certificates of all users."""
