"""What a certificate is: read, checked, put in order. Pure: no I/O, no clock, nothing fetched."""
