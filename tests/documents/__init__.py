"""Runs the commands of a document, and compares their answers with the printed ones."""
