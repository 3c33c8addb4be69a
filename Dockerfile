# One image; the command chooses serve (the default), worker, migrate or sandbox.
FROM python:3.11-slim AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The pinned build backend is among the packages of `make up`; none of this reaches the image.
COPY requirements-up.txt ./
RUN python -m venv /tools && /tools/bin/pip install --require-hashes -r requirements-up.txt
COPY requirements.txt ./
RUN python -m venv /opt/crm-api && /opt/crm-api/bin/pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY src src
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/crm-api/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin crm
COPY --from=build /opt/crm-api /opt/crm-api
ENV PATH=/opt/crm-api/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CRM_HOST=0.0.0.0 \
    CRM_PORT=8000 \
    CRM_DATA_DIR=/data \
    CRM_LOG_FORMAT=json
WORKDIR /data
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# For `serve`; a worker has no port, its heartbeat is in the API's /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['CRM_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["crm-api"]
CMD ["serve"]
