"""The OpenAPI description of the API, from its operations and from data files."""
