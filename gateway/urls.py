"""Routes of the data plane."""

from __future__ import annotations

from django.urls import path, re_path

from gateway.views import inference, operations

urlpatterns = [
    path("v1/chat/completions", inference.ChatCompletionsView.as_view()),
    path("v1/embeddings", inference.EmbeddingsView.as_view()),
    path("v1/models", inference.ModelsView.as_view()),
    path("v1/models/<path:model_id>", inference.ModelView.as_view()),
    re_path(r"^v1(/.*)?$", inference.UnknownView.as_view()),
    path("api/routing/stats", operations.RoutingStatsView.as_view()),
    re_path(r"^api(/.*)?$", inference.UnknownView.as_view()),
    path("livez", operations.LiveView.as_view()),
    path("readyz", operations.ReadyView.as_view()),
    path("healthz", operations.HealthView.as_view()),
    path("metrics", operations.MetricsView.as_view()),
]
