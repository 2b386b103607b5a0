"""Imported last by the process out of which commands are forked.

What it has in memory is not looked at by the garbage collections of commands, which would copy it.
"""

import gc

from sqlalchemy.orm import configure_mappers

from customer_certificates.gateways.sandbox.fork_server import prepare_to_fork

# A command's first query would do it.
configure_mappers()
gc.collect()
gc.freeze()
# All commands that are forked share this one: to start it takes more than to start a worker.
prepare_to_fork("customer_certificates.pki.validation")
