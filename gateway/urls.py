"""Routes of the data plane."""

from __future__ import annotations

from django.urls import path, re_path

from gateway.views import inference, operations
from gateway.views.documents import collections, documents
from gateway.views.management import resources
from gateway.views.management.traffic import TrafficView
from gateway.views.management.usage import UsageRecordsView, UsageView
from gateway.views.management.views import RotationView, RowsView, RowView
from gateway.views.memory.sessions import SessionsView, SessionView
from gateway.views.memory.turns import ExportView, ImportView, SearchView
from gateway.views.vector_stores import urls as vector_stores

NAMED = (
    resources.TENANTS,
    resources.PROVIDERS,
    resources.MODELS,
    resources.STRATEGIES,
)
NUMBERED = (resources.LIMITS, resources.BUDGETS, resources.DEPLOYMENTS)

urlpatterns = [
    path("v1/chat/completions", inference.ChatCompletionsView.as_view()),
    path("v1/embeddings", inference.EmbeddingsView.as_view()),
    path("v1/models", inference.ModelsView.as_view()),
    path("v1/models/<path:model_id>", inference.ModelView.as_view()),
    *vector_stores.urlpatterns,
    re_path(r"^v1(/[\s\S]*)?$", inference.UnknownView.as_view()),
    path("api/routing/stats", operations.RoutingStatsView.as_view()),
    *(
        path(f"api/{each.path}", RowsView.as_view(resource=each))
        for each in (*NAMED, *NUMBERED, resources.KEYS)
    ),
    *(  # a name may hold slashes
        path(f"api/{each.path}/<path:row_id>", RowView.as_view(resource=each))
        for each in NAMED
    ),
    *(
        path(f"api/{each.path}/<int:row_id>", RowView.as_view(resource=each))
        for each in NUMBERED
    ),
    path("api/traffic", TrafficView.as_view()),
    path("api/usage", UsageView.as_view()),
    path("api/usage/records", UsageRecordsView.as_view()),
    path("api/keys/<str:row_id>", RowView.as_view(resource=resources.KEYS)),
    path("api/keys/<str:row_id>/rotate", RotationView.as_view()),
    path("api/memory/sessions", SessionsView.as_view()),
    path("api/memory/sessions/<path:session_id>/turns", ImportView.as_view()),
    path("api/memory/sessions/<path:session_id>/search", SearchView.as_view()),
    path("api/memory/sessions/<path:session_id>/export", ExportView.as_view()),
    path("api/memory/sessions/<path:session_id>", SessionView.as_view()),
    path("api/collections", collections.CollectionsView.as_view()),
    path("api/collections/<str:name>", collections.CollectionView.as_view()),
    path("api/collections/<str:name>/search", collections.SearchView.as_view()),
    path("api/collections/<str:name>/reindex", collections.ReindexView.as_view()),
    path("api/collections/<str:name>/rollback", collections.RollbackView.as_view()),
    path(
        "api/collections/<str:name>/documents",
        documents.DocumentsOfCollectionView.as_view(),
    ),
    *(
        path(f"api/collections/<str:name>/documents/<str:document_id>{rest}", view)
        for rest, view in (
            ("", documents.DocumentView.as_view()),
            ("/file", documents.DocumentFileView.as_view()),
            ("/text", documents.DocumentTextView.as_view()),
        )
    ),
    re_path(r"^api(/[\s\S]*)?$", inference.UnknownView.as_view()),
    path("livez", operations.LiveView.as_view()),
    path("readyz", operations.ReadyView.as_view()),
    path("healthz", operations.HealthView.as_view()),
    path("metrics", operations.MetricsView.as_view()),
]
