#!/bin/sh
# Runs a command as an account without rights, if the container was started as root.
#
# Compose starts `api` as root, since a new migration must belong to the owner of the mounted folder
# alembic/, whom only the container sees. All else runs as the account `service`.
set -eu
if [ "$(id -u)" -ne 0 ]; then
    exec "$@"
fi
if [ "$1" = alembic ]; then
    user=$(stat --format=%u alembic)
    group=$(stat --format=%g alembic)
    HOME=/tmp
else
    user=$(id -u service)
    group=$(id -g service)
    HOME=/data
fi
export HOME
exec setpriv --reuid="$user" --regid="$group" --clear-groups --inh-caps=-all "$@"
