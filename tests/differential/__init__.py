"""Random PKIs: the verdict of this service beside the verdict of the `openssl verify` command."""
