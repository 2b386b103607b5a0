"""Long checks that `make test` does not run; each is a command of its own."""
