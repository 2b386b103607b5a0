"""How fast the service is, beside the same routes in FastAPI, a bare Falcon and plain SQL."""
