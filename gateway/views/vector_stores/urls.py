"""Routes of `/v1/files` and `/v1/vector_stores`."""

from __future__ import annotations

from django.urls import path

from gateway.views.vector_stores import files, search, store_files, stores

STORE = "v1/vector_stores/<str:vector_store_id>"

urlpatterns = [
    path("v1/files", files.FilesView.as_view()),
    path("v1/files/<str:file_id>", files.FileView.as_view()),
    path("v1/files/<str:file_id>/content", files.FileContentView.as_view()),
    path("v1/vector_stores", stores.StoresView.as_view()),
    path(STORE, stores.StoreView.as_view()),
    path(f"{STORE}/files", store_files.StoreFilesView.as_view()),
    path(f"{STORE}/files/<str:file_id>", store_files.StoreFileView.as_view()),
    path(
        f"{STORE}/files/<str:file_id>/content",
        store_files.StoreFileContentView.as_view(),
    ),
    path(f"{STORE}/search", search.StoreSearchView.as_view()),
]
