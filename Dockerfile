# docker build -t marchproxy/ailb .
# Pin the base by digest where you keep one: --build-arg BASE_IMAGE=python@sha256:...
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt constraints.txt ./
RUN pip install -r requirements.txt
# Into the environment: a server finds the model ready and never needs torch for it.
COPY rag rag
RUN python -m rag.onnx_export

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="AILB" \
      org.opencontainers.image.description="AI load balancer" \
      org.opencontainers.image.licenses="AGPL-3.0-only"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app ailb
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
COPY manage.py LICENSE CHANGELOG.md ./
COPY ailb_project ailb_project
COPY gateway gateway
COPY memory memory
COPY moduleservice moduleservice
COPY rag rag
# The code belongs to root and is compiled now: the server's user cannot write it.
RUN /opt/venv/bin/python -m compileall -q manage.py ailb_project gateway memory rag
RUN mkdir -m 0700 /app/ailb_memory && chown 10001:10001 /app/ailb_memory
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    AILB_AUTH=required \
    AILB_DATA_DIR=/app/ailb_memory
VOLUME /app/ailb_memory
EXPOSE 8080 50051
USER ailb
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:%s/livez' % (os.environ.get('HTTP_PORT') or 8080), timeout=4)"]
CMD ["python", "manage.py", "serve"]
