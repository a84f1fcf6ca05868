"""Sessions and turns for the tests of memory's pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from gateway.models import Tenant
from memory.models import EmbeddingState, Session, Turn, TurnVector

SAID = (("user", "My name is Alice"), ("assistant", "Hello Alice"))


def session(
    session_id: str = "user-123",
    turns: Iterable[tuple[str, str]] = SAID,
    *,
    tenant: str = "team",
    **fields: Any,
) -> Session:
    """Make a session whose turns all have their vectors, in the vector store as well."""
    row = Session.objects.create(
        tenant=Tenant.objects.get_or_create(name=tenant)[0],
        session_id=session_id,
        **fields,
    )
    add_turns(row, turns)
    return row


def add_turns(
    row: Session, turns: Iterable[tuple[str, str]], *, with_vectors: bool = True
) -> None:
    began = timezone.now() - timedelta(days=3)
    made = [
        Turn(
            session=row,
            uid=uuid.uuid4().hex,
            seq=seq,
            role=role,
            text=text,
            content_hash=f"{seq:064x}",
            tokens=len(text) // 4 + 4,
            model="gpt-4" if role == "assistant" else "",
            created_at=began + timedelta(minutes=seq),
            embedding_state=EmbeddingState.INDEXED,
        )
        for seq, (role, text) in enumerate(turns, row.last_seq + 1)
    ]
    Turn.objects.bulk_create(made, batch_size=1000)
    if with_vectors:
        TurnVector.objects.bulk_create(
            [TurnVector(turn=turn, embedding="m/fp32/2", data=b"1234") for turn in made]
        )
    row.last_seq += len(made)
    row.save(update_fields=["last_seq"])


def uids_of(*rows: Session) -> set[str]:
    found = Turn.objects.filter(session__in=rows)
    return set(found.values_list("uid", flat=True))


def page_of(row: Any) -> str:
    return f"/admin/memory/{row._meta.model_name}/{row.pk}/change/"


def client_with(*permissions: str) -> Client:
    """Log a member of staff in who has just these permissions."""
    user = User.objects.create_user("clerk", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client
