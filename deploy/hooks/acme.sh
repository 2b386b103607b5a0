#!/bin/sh
# A reload command for acme.sh. It uploads and activates each new or renewed certificate.
#
#   install -m 755 acme.sh /usr/local/lib/customer-certificates/acme-sh-hook
#   acme.sh --install-cert -d www.example.com --reloadcmd /usr/local/lib/customer-certificates/acme-sh-hook
#
# acme.sh sets CERT_FULLCHAIN_PATH and CERT_KEY_PATH.
set -eu
# Settings: see docs/how-to/renewals.md.
set -a
. "${CUSTOMER_CERTIFICATES_HOOK_ENV:-/etc/customer-certificates/hook.env}"
set +a
exec customer-certificates import \
    --user "$CUSTOMER_CERTIFICATES_USER" --replace --activate "$CERT_FULLCHAIN_PATH" "$CERT_KEY_PATH"
