#!/usr/bin/env bash
# Runs the five commands of docs/how-to/docker.md on a Docker engine, in both orders, each on fresh volumes.
#
#   docker/check.sh                             # with all tests, twice: takes more than 2 times as long as `make test`
#   docker/check.sh tests/test_story.py -k sqlite
#
# Arguments go to pytest. Prints one line a command, with the seconds it took. Of one that fails it
# prints the end of the output, and the name of the file that has all of it. Needs docker, and
# docker-compose or Compose v2. Touches no other project's containers or volumes: it has a project,
# a network (CC_SUBNET) and a port (CC_PORT) of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=customer-certificates-check
export CC_PORT=${CC_PORT:-9090}
export CC_SUBNET=${CC_SUBNET:-10.199.91.0/24}
PYTEST_ADDOPTS=
(($#)) && printf -v PYTEST_ADDOPTS '%q ' "$@"
export PYTEST_ADDOPTS

compose() {
    if command -v docker-compose >/dev/null; then docker-compose "$@"; else docker compose "$@"; fi
}

# Runs the function or command that follows, and prints a line under the title given first.
step() {
    local title=$1 began=$SECONDS result=ok
    shift
    "$@" >"$output" 2>&1 </dev/null || result=FAILED
    printf '%-6s %4d s  %s\n' "$result" $((SECONDS - began)) "$title"
    if [[ $result == FAILED ]]; then
        tail -n 40 "$output"
        echo "All of it is in $output"
        output=
        exit 1
    fi
}

up_api() {
    compose up api &
    local up=$!
    for _ in $(seq 60); do
        sleep 1
        if curl -fsS "localhost:$CC_PORT/healthcheck"; then
            compose stop api
            wait "$up"
            return
        fi
    done
    return 1
}

up_api_test() {
    compose up api-test
    # `up` itself succeeds whatever its containers do.
    local container
    container=$(docker ps --all --quiet --latest \
        --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter label=com.docker.compose.service=api-test)
    [[ $(docker inspect --format '{{.State.ExitCode}}' "$container") == 0 ]]
}

revision() {
    compose run api alembic revision --autogenerate -m "migration description"
    local made=(alembic/versions/*_migration_description.py)
    [[ $(stat --format=%u:%g "${made[0]}") == "$(stat --format=%u:%g alembic)" ]]
    rm "${made[@]}"
}

upgrade() { step 'run api alembic upgrade head' compose run api alembic upgrade head; }
tests() {
    step 'up api-test' up_api_test
    grep -oE '[0-9]+ passed[^=]*' "$output" | tail -n 1 || true
}

clean() { compose --profile test down --volumes --remove-orphans >/dev/null 2>&1 || true; }

output=$(mktemp)
trap 'clean; rm -f ${output:+"$output"}' EXIT
clean

step 'build api' compose build api
step 'build api-test' compose build api-test
echo "The tests after the service:"
upgrade
step 'up api' up_api
tests
step 'run api alembic revision --autogenerate -m "migration description"' revision
clean
echo "The tests before the service:"
tests
upgrade
step 'run api alembic revision --autogenerate -m "migration description"' revision
step 'up api' up_api
