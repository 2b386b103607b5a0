"""The pages about all users, for operators."""
