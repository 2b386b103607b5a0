# The service, and with `--target test` its test suite. The service needs nothing but the base image
# and the Python package index: no BuildKit, no syntax image, no apt-get, no compiler. The tests also
# need the Debian packages of tests/programs.txt.

# docs/how-to/docker.md says how to name it by digest.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS dependencies
ENV PYTHONDONTWRITEBYTECODE=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.9
WORKDIR /app
# Only these two files determine the packages: a change to the source keeps this layer.
COPY pyproject.toml uv.lock ./
RUN uv sync --extra server --frozen --no-dev --no-install-project


FROM dependencies AS build
COPY README.md LICENSE alembic.ini ./
COPY alembic alembic
COPY src src
# A clone made with a umask like 077 keeps its modes, and the service must read root's files.
RUN chmod -R a+rX alembic.ini alembic src \
    && uv sync --extra server --frozen --no-dev --no-editable \
    && rm -f .venv/.lock


FROM ${PYTHON_IMAGE} AS service
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CC_HOST=0.0.0.0 \
    CC_PORT=9000 \
    CC_DATA_DIR=/data
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin service \
    && install --directory --owner=service --group=service --mode=0700 /data
WORKDIR /app
# Everything under /app belongs to root: the service cannot rewrite itself.
COPY --from=build /app/.venv .venv
COPY --from=build /app/alembic.ini ./
COPY --from=build /app/alembic alembic
COPY docker/entrypoint.sh /usr/local/bin/service-entrypoint
RUN chmod 0755 /usr/local/bin/service-entrypoint
USER service
VOLUME /data
EXPOSE 9000
# After SIGTERM, requests in progress have 25 s to finish: `docker stop --time 30`. Run it with
# --init, or a SIGTERM in its first second, before it listens to signals, is lost.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-IS", "-c", "\
import http.client, os, sys; \
c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CC_PORT']), timeout=4); \
c.request('GET', '/healthcheck'); \
sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["service-entrypoint"]
CMD ["customer-certificates", "serve"]
# docker build --build-arg VERSION=… --build-arg REVISION="$(git rev-parse HEAD)"
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Customer Certificates" \
      org.opencontainers.image.description="Stores, validates and delivers customers' TLS certificates" \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}


FROM dependencies AS test
COPY tests/programs.txt tests/
RUN apt-get update -qq \
    && sed '/^#/d; s/.* //' tests/programs.txt \
        | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends \
    && rm -rf /var/lib/apt/lists/*
RUN uv sync --extra server --frozen --no-install-project
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin tester \
    && chown tester:tester /app
COPY --chown=tester:tester . .
RUN uv sync --extra server --frozen
# Bytecode is written here: the processes of a run, and all that they start, import the same modules.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE= \
    PYTHONUNBUFFERED=1 \
    CI=true
USER tester
# The tests start their own PostgreSQL and Valkey, as everywhere else.
CMD ["pytest", "--numprocesses=auto", "--dist=worksteal"]


# Last, so that a plain `docker build .` makes the service; builders without BuildKit
# stop at the target they are asked for, and never build the tests on the way to `service`.
FROM service
