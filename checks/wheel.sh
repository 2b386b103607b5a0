#!/usr/bin/env bash
# Builds the wheel, installs it into two empty environments, and runs it there.
#
# The environment `client` has no extra. The environment `server` has the extra `server`. A service
# runs in `server`; `client` imports a certificate into it and fetches it again. Prints the size of
# both environments. Needs openssl, curl and the package index.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "checks/wheel.sh: $*" >&2
    exit 1
}

make --no-print-directory dist
wheels=(dist/*.whl)
wheel=$PWD/${wheels[0]}
uv=$(command -v uv || echo "$PWD/.venv/bin/uv")
python=$PWD/.venv/bin/python
folder=$(mktemp -d)
service=
trap '[[ -z $service ]] || kill "$service" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

for environment in client server; do
    "$uv" venv --quiet --python "$python" "$folder/$environment"
done
"$uv" pip install --quiet --python "$folder/client/bin/python" "$wheel"
"$uv" pip install --quiet --python "$folder/server/bin/python" "$wheel[server]"
client=$folder/client/bin/customer-certificates
server=$folder/server/bin/customer-certificates

# The commands must find everything in the wheel, nothing in this folder.
cd "$folder"
"$client" --version
for command in serve migrate worker "token list"; do
    # shellcheck disable=SC2086
    if "$client" $command >out.txt 2>&1; then fail "$command works without the extra"; fi
    grep -q "customer-certificates\[server\]" out.txt || fail "$command: $(<out.txt)"
done

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export CC_DATA_DIR=$folder/data CC_PORT=$port CUSTOMER_CERTIFICATES_URL=http://127.0.0.1:$port
"$server" migrate
"$server" serve >service.log 2>&1 &
service=$!
for _ in $(seq 100); do
    curl -fsS "$CUSTOMER_CERTIFICATES_URL/livez" >livez.txt 2>&1 && break
    sleep 0.3
done
curl -fsS "$CUSTOMER_CERTIFICATES_URL/users" -H 'Content-Type: application/json' \
    -d '{"name": "Ada", "email": "ada@example.com", "password": "correct horse"}' >user.json \
    || fail "no service: $(<service.log)"

mkdir site
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com \
    -addext basicConstraints=critical,CA:FALSE -keyout site/key.pem -out site/cert.pem 2>openssl.txt
"$client" inspect site/cert.pem >inspect.txt || true
grep -q www.example.com inspect.txt || fail "inspect: $(<inspect.txt)"
"$client" import site --user 1 --activate
"$client" expiring --user 1 --json >expiring.json || true
grep -q www.example.com expiring.json || fail "expiring: $(<expiring.json)"
"$client" sync --once --format pem --out served
grep -rq 'PRIVATE KEY' served || fail "sync wrote no certificate"
if "$client" probe 127.0.0.1:1 --hostname www.example.com >probe.txt; then fail "probe succeeded"; fi
grep -q 'Connection refused' probe.txt || fail "probe: $(<probe.txt)"
kill "$service"
wait "$service" || fail "the service failed: $(<service.log)"
service=

# Separately: the environments share files through hard links, and du counts those once.
for environment in client server; do du -sh "$environment"; done
echo "The wheel works in empty environments."
