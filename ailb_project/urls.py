"""Every route: the data plane, the admin and the OpenAPI page."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", include("gateway.urls")),
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("docs/openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("docs", SpectacularSwaggerView.as_view(url_name="openapi"), name="docs"),
]
