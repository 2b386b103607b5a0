"""Imported last by the process out of which commands are forked.

What it has in memory is not looked at by the garbage collections of commands, which would copy it.
"""

import gc

from sqlalchemy.orm import configure_mappers

# A command's first query would do it.
configure_mappers()
gc.collect()
gc.freeze()
