"""The pages of a customer, which operators see too."""
