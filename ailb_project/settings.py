"""Django settings: env helpers, then flat sections; docs/settings.md explains each."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ  # type: ignore[import-untyped]  # it ships none

from ailb_project.env import (
    bad_value,
    env_bool,
    env_choice,
    env_file,
    env_float,
    env_folder,
    env_int,
    env_list,
    env_networks,
    env_secret,
    env_str,
    kept_secret,
)
from ailb_project.server_settings import SERVER_MODULES
from gateway.crypto import check_encryption_keys, new_encryption_key
from gateway.errors import ConfigurationError
from gateway.kinds import Algorithm

BASE_DIR = Path(__file__).resolve().parent.parent

# Data and secrets
AILB_DATA_DIR = env_folder("AILB_DATA_DIR", "data")
SECRETS_DIR = AILB_DATA_DIR / "secrets"
SECRET_KEY = env_secret("AILB_SECRET_KEY") or kept_secret(
    SECRETS_DIR / "django_secret_key", lambda: secrets.token_urlsafe(50)
)
AILB_ENCRYPTION_KEYS = [
    key.strip() for key in env_secret("AILB_ENCRYPTION_KEYS").split(",") if key.strip()
] or [kept_secret(SECRETS_DIR / "encryption_key", new_encryption_key)]
try:
    check_encryption_keys(AILB_ENCRYPTION_KEYS)
except ConfigurationError as error:
    raise bad_value(
        "AILB_ENCRYPTION_KEYS", "***", "Fernet keys (32 bytes, URL-safe base64)"
    ) from error
AILB_SNAPSHOT_FILE = AILB_DATA_DIR / "snapshot.json"
AILB_SPOOL_DIR = AILB_DATA_DIR / "spool"
AILB_USAGE_RETENTION_DAYS = env_int("AILB_USAGE_RETENTION_DAYS", 90, low=1, high=3650)

# HTTP
HOST = env_str("HOST", "127.0.0.1")
HTTP_PORT = env_int("HTTP_PORT", 8080, low=0, high=65535)
AILB_WORKERS = env_int("AILB_WORKERS", 1, low=1, high=64)
AILB_SERVER = env_choice("AILB_SERVER", "daphne", list(SERVER_MODULES))
AILB_MAX_BODY_BYTES = env_int("AILB_MAX_BODY_MB", 20, low=1, high=1024) * 1024 * 1024
NLB_GRPC_ADDRESS = env_str("NLB_GRPC_ADDRESS")
# The NLB looks every 10 s: it has seen twice that this instance is not ready.
AILB_GRACE_S = env_float("AILB_GRACE_S", 25 if NLB_GRPC_ADDRESS else 0, low=0, high=600)
AILB_DRAIN_TIMEOUT_S = env_float("AILB_DRAIN_TIMEOUT_S", 20, low=0, high=3600)
AILB_PUBLIC_URL = env_str("AILB_PUBLIC_URL").rstrip("/")
if AILB_PUBLIC_URL and urlsplit(AILB_PUBLIC_URL).scheme not in {"http", "https"}:
    raise bad_value("AILB_PUBLIC_URL", AILB_PUBLIC_URL, "http(s)://host")
LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env_list("AILB_ALLOWED_HOSTS", LOCAL_NAMES)
if AILB_PUBLIC_URL and (public_host := urlsplit(AILB_PUBLIC_URL).hostname):
    ALLOWED_HOSTS = [*ALLOWED_HOSTS, public_host]
# Whose X-Forwarded-For is believed: networks of proxies in front.
AILB_TRUSTED_PROXIES = env_networks("AILB_TRUSTED_PROXIES")
DATA_UPLOAD_MAX_MEMORY_SIZE = AILB_MAX_BODY_BYTES

# Identity of this process, set by `serve` for the processes it starts
AILB_MODULE_ID = env_str("MODULE_ID", "ailb-1")
AILB_RUN = env_str("AILB_RUN") or secrets.token_hex(8)
AILB_HTTP_ADDRESS = env_str("AILB_HTTP_ADDRESS")  # where it listens, as a URL
AILB_VERSION_LABEL = env_str("AILB_VERSION_LABEL", "v1")
if len(AILB_VERSION_LABEL) > 64 or not AILB_VERSION_LABEL.isprintable():
    raise bad_value(
        "AILB_VERSION_LABEL", AILB_VERSION_LABEL, "at most 64 printable characters"
    )

# ModuleService: what a network load balancer manages this instance by
GRPC_PORT = env_int("GRPC_PORT", 50051, low=0, high=65535)
AILB_GRPC_TOKEN_PATH = SECRETS_DIR / "grpc_token"
AILB_GRPC_TOKEN = env_secret("AILB_GRPC_TOKEN") or kept_secret(
    AILB_GRPC_TOKEN_PATH, lambda: secrets.token_urlsafe(32)
)
AILB_GRPC_TLS_CERT = env_file("AILB_GRPC_TLS_CERT")
AILB_GRPC_TLS_KEY = env_file("AILB_GRPC_TLS_KEY")
AILB_GRPC_TLS_CLIENT_CA = env_file("AILB_GRPC_TLS_CLIENT_CA")
if (AILB_GRPC_TLS_CERT is None) != (AILB_GRPC_TLS_KEY is None):
    raise bad_value(
        "AILB_GRPC_TLS_CERT", str(AILB_GRPC_TLS_CERT or ""), "set with its _KEY, or not"
    )
if AILB_GRPC_TLS_CLIENT_CA is not None and AILB_GRPC_TLS_CERT is None:
    raise bad_value(
        "AILB_GRPC_TLS_CLIENT_CA",
        str(AILB_GRPC_TLS_CLIENT_CA),
        "set with AILB_GRPC_TLS_CERT and _KEY",
    )
AILB_GRPC_INSECURE = env_bool("AILB_GRPC_INSECURE", default=False)
AILB_GRPC_REFLECTION = env_bool("AILB_GRPC_REFLECTION", default=False)
AILB_PROMOTION_STEP_S = env_float("AILB_PROMOTION_STEP_S", 60, low=1, high=86_400)

# Access
AILB_AUTH = env_choice("AILB_AUTH", "auto", ["auto", "required", "open"])
AILB_API_KEY = env_secret("AILB_API_KEY")
if AILB_API_KEY and len(AILB_API_KEY) < 16:
    raise bad_value("AILB_API_KEY", "***", "a key of at least 16 characters")
AILB_STALE_MAX_S = env_float("AILB_STALE_MAX_S", 3600, low=0, high=2_592_000)
AILB_ADMIN_PASSWORD = env_secret("AILB_ADMIN_PASSWORD")
AILB_METRICS_TOKEN = env_secret("AILB_METRICS_TOKEN")

# Providers from the environment
ROUTING_STRATEGY = env_choice("ROUTING_STRATEGY", "load_balanced", list(Algorithm))
AILB_FALLBACKS = env_str("AILB_FALLBACKS")
OPENAI_API_KEY = env_secret("OPENAI_API_KEY")
OPENAI_BASE_URL = env_str("OPENAI_BASE_URL")
OPENAI_MODELS = env_list("OPENAI_MODELS", ["gpt-4", "gpt-3.5-turbo"])
ANTHROPIC_API_KEY = env_secret("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = env_str("ANTHROPIC_BASE_URL")
ANTHROPIC_MODELS = env_list(
    "ANTHROPIC_MODELS", ["claude-3-opus-20240229", "claude-3-sonnet-20240229"]
)
OLLAMA_BASE_URL = env_str("OLLAMA_BASE_URL")
OLLAMA_MODELS = env_list("OLLAMA_MODELS")

# Database and Redis
DATABASE_URL = env_secret("DATABASE_URL")
if DATABASE_URL:
    if not DATABASE_URL.startswith(("postgres://", "postgresql://", "sqlite:///")):
        raise bad_value("DATABASE_URL", "***", "postgresql://… or sqlite:///path")
    DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": AILB_DATA_DIR / "ailb.sqlite3",
        }
    }
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
        # What is deleted is overwritten: a conversation that was erased is gone.
        "PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON; "
        # KiB, not the usual 2,000: a long report sorts in memory instead of in a file.
        "PRAGMA cache_size=-16000;",
    }
else:
    # A kept connection (CONN_MAX_AGE) leaks one per thread under ASGI; a pool does not.
    DATABASES["default"] |= {
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **DATABASES["default"].get("OPTIONS", {}),
            "pool": {"min_size": 1, "max_size": 10, "timeout": 3},
        },
    }
REDIS_URL = env_secret("REDIS_URL")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise bad_value("REDIS_URL", "***", "redis://host:port/number")

# Memory, and what it shares with documents: embedder, vectors, time
ENABLE_MEMORY = env_bool("ENABLE_MEMORY", default=True)
env_choice("MEMORY_BACKEND", "chromadb", ["chromadb"])
CHROMA_URL = env_str("CHROMA_URL").rstrip("/")
if CHROMA_URL and urlsplit(CHROMA_URL).scheme not in {"http", "https"}:
    raise bad_value("CHROMA_URL", CHROMA_URL, "http(s)://host:port")
AILB_CHROMA_URL_FILE = AILB_DATA_DIR / "chroma.url"  # where `serve` runs one
EMBEDDING_MODEL = env_str("EMBEDDING_MODEL")
AILB_EMBEDDING_PRECISION = env_choice(
    "AILB_EMBEDDING_PRECISION", "int8", ["int8", "fp32"]
)
AILB_ALLOW_DOWNLOADS = env_bool("AILB_ALLOW_DOWNLOADS", default=False)
AILB_CONTEXT_DEADLINE_MS = env_int("AILB_CONTEXT_DEADLINE_MS", 300, low=10, high=60_000)

# Documents
ENABLE_RAG = env_bool("ENABLE_RAG", default=False)
env_choice("RAG_BACKEND", "chromadb", ["chromadb"])
AILB_DOCUMENTS_DIR = env_folder("AILB_DOCUMENTS_DIR", str(AILB_DATA_DIR / "documents"))
AILB_MAX_DOCUMENT_BYTES = (
    env_int("AILB_MAX_DOCUMENT_MB", 25, low=1, high=1024) * 1024 * 1024
)

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Apps, middleware, templates: the admin side; the data plane has its own handler
DEBUG = env_bool("AILB_DEBUG", default=False)
# What only pages need, and what processes without pages leave out: half their memory.
HAS_PAGES = sys.argv[1:2] not in (["runjobs"], ["runmoduleservice"])
INSTALLED_APPS = [
    *(["unfold", "django.contrib.admin"] if HAS_PAGES else []),
    *([] if HAS_PAGES else ["django.contrib.admin.apps.SimpleAdminConfig"]),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    *(
        [
            "django_prometheus",
            "rest_framework",
            "drf_spectacular",
            "drf_spectacular_sidecar",
        ]
        if HAS_PAGES
        else []
    ),
    "ailb_project",
    "gateway.apps.GatewayConfig",
    "memory.apps.MemoryConfig",
    "rag.apps.RagConfig",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "ailb_project.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "ailb_project.urls"
ASGI_APPLICATION = "ailb_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Static files of the admin: found in the packages, nothing to collect
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False

# Sessions and browser security
IS_HTTPS = AILB_PUBLIC_URL.startswith("https://")
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [AILB_PUBLIC_URL] if AILB_PUBLIC_URL else []
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Language and time
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# DRF and its OpenAPI document
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AILB",
    "DESCRIPTION": "OpenAI-compatible API of the AI load balancer.",
    "VERSION": "v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "POSTPROCESSING_HOOKS": ["gateway.views.schema.require_bodies"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Admin theme
UNFOLD = {
    "SITE_TITLE": "AILB",
    "SITE_HEADER": "AILB",
    "SITE_SUBHEADER": "AI load balancer",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: f"{STATIC_URL}gateway/favicon.svg",
        }
    ],
    "STYLES": [lambda request: f"{STATIC_URL}gateway/admin.css"],
    "SIDEBAR": {"navigation": "gateway.admin.navigation.sidebar"},
    "GLOBAL_CALLBACK": "gateway.admin.banners.context",
    "DASHBOARD_CALLBACK": "gateway.admin.usage_summary.dashboard",
}

# Logs: one JSON object a line on standard error
# The core of gRPC writes lines of its own, whoever connects: before it is loaded, tell
# it to keep to errors.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
AILB_LOG_LEVEL = env_choice(
    "AILB_LOG_LEVEL", "info", ["debug", "info", "warning", "error"]
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "ailb_project.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        name: {"level": logging.getLevelName(AILB_LOG_LEVEL.upper())}
        for name in ("ailb_project", "gateway", "memory", "moduleservice", "rag")
    },
}
