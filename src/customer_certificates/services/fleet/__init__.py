"""The certificates of all users, for operators."""
