"""Sessions and their turns: the truth that every index can be built anew from."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from typing_extensions import override

from memory.deletion import delete_unread
from memory.settings_field import validate_settings

MAX_SESSION_ID = 256
MAX_EXTERNAL_ID = 200


class EmbeddingState(models.TextChoices):
    """How far a turn's vector is: made, and mirrored to the vector store."""

    PENDING = "pending", "waits for its vector"
    EMBEDDED = "embedded", "has its vector"
    INDEXED = "indexed", "has its vector, and so has the vector store"
    FAILED = "failed", "cannot be embedded"


class Session(models.Model):
    """One conversation, named by the client within its tenant.

    `version` grows with every change of the turns, so that a copy in memory knows
    whether it is stale.
    """

    tenant = models.ForeignKey(
        "gateway.Tenant", on_delete=models.CASCADE, related_name="memory_sessions"
    )
    session_id = models.CharField(
        max_length=MAX_SESSION_ID, help_text="What clients call it, within the tenant."
    )
    owner = models.CharField(
        max_length=32,
        blank=True,
        default="",
        help_text="Public id of the key that began it. Empty: no key.",
    )
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is deleted. Empty: never."
    )
    ttl_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(36_500)],
        help_text="Days from its last use to its end. Empty: as the policy says.",
    )
    settings = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_settings],
        help_text="What holds for this session alone, as a JSON object: is_enabled, "
        "max_tokens, recent_turns, recall_turns.",
    )
    version = models.PositiveBigIntegerField(default=0, editable=False)
    last_seq = models.PositiveIntegerField(default=0, editable=False)
    summary = models.TextField(blank=True, default="")
    summary_upto = models.PositiveIntegerField(default=0, editable=False)
    summary_tried_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-last_used_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "session_id"], name="session_of_a_tenant"
            ),
            models.CheckConstraint(
                condition=~Q(session_id=""), name="session_id_given"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-last_used_at"], name="session_recent"),
            models.Index(fields=["expires_at"], name="session_end"),
        ]

    @override
    def __str__(self) -> str:
        return self.session_id


class Turn(models.Model):
    """One message of a session.

    `seq` counts within the session from 1. A superseded turn belongs to a branch that
    the client has left, by editing or asking again; a partial one broke off.
    """

    session = models.ForeignKey(Session, on_delete=delete_unread, related_name="turns")
    uid = models.CharField(max_length=32, unique=True, editable=False)
    seq = models.PositiveIntegerField()
    role = models.CharField(
        max_length=16,
        choices=[(role, role) for role in ("user", "assistant", "tool")],
    )
    text = models.TextField()
    content_hash = models.CharField(max_length=64)
    tokens = models.PositiveIntegerField(help_text="Estimated.")
    model = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(max_length=128, blank=True, default="")
    external_id = models.CharField(max_length=MAX_EXTERNAL_ID, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    is_partial = models.BooleanField(default=False)
    is_superseded = models.BooleanField(default=False)
    embedding_state = models.CharField(
        max_length=8, choices=EmbeddingState.choices, default=EmbeddingState.PENDING
    )

    class Meta:
        ordering = ["session_id", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="turn_seq"),
            models.UniqueConstraint(
                fields=["session", "external_id"],
                condition=~Q(external_id=""),
                name="turn_external_id",
            ),
        ]
        indexes = [
            models.Index(
                fields=["embedding_state", "id"],
                condition=~Q(embedding_state=EmbeddingState.INDEXED),
                name="turn_unfinished",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.seq} {self.role}"


class TurnVector(models.Model):
    """A turn's embedding: a unit vector as little-endian 16-bit floats.

    `embedding` names the model, precision and dimension that made it
    (`rag.embedding.EmbeddingId`); vectors of different ones are never compared.
    """

    turn = models.OneToOneField(
        Turn, primary_key=True, on_delete=models.CASCADE, related_name="vector"
    )
    embedding = models.CharField(max_length=200, db_index=True)
    data = models.BinaryField()

    @override
    def __str__(self) -> str:
        return f"vector of turn {self.turn_id}"


class VectorErasure(models.Model):
    """A vector that must still be removed from the vector store: its turn is gone."""

    uid = models.CharField(max_length=32, unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    @override
    def __str__(self) -> str:
        return self.uid


class MemoryPolicy(models.Model):
    """How sessions are remembered: for a model, for a key, or for everybody."""

    model = models.OneToOneField(
        "gateway.Model",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="memory_policy",
        help_text="For requests to this model.",
    )
    api_key = models.OneToOneField(
        "gateway.ApiKey",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="memory_policy",
        verbose_name="API key",
        help_text="For requests with this key; its word is over the model's.",
    )
    is_enabled = models.BooleanField(
        "remember", null=True, blank=True, help_text="Off: sessions are not kept."
    )
    is_required = models.BooleanField(
        "required",
        null=True,
        blank=True,
        help_text="On: a request fails when its memory cannot be read in time.",
    )
    max_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(1_000_000)],
        help_text="Most tokens that are added to a request. Default 1,500.",
    )
    recent_turns = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(200)],
        help_text="Newest turns that are given back verbatim. Default 8.",
    )
    recall_turns = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text="Older turns that are recalled for a question. Default 10.",
    )
    ttl_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36_500)],
        help_text="Days from a session's last use to its end. Default 30.",
    )
    summary_model = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Name of the model that keeps a rolling summary of long sessions. "
        "Empty: none, or as everybody's policy says.",
    )

    class Meta:
        verbose_name_plural = "memory policies"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(model__isnull=True) | Q(api_key__isnull=True),
                name="memory_policy_one_target",
            ),
            models.UniqueConstraint(
                models.Value(1),
                condition=Q(model__isnull=True, api_key__isnull=True),
                name="memory_policy_everybody_once",
            ),
        ]

    @override
    def __str__(self) -> str:
        return str(self.model or self.api_key or "everybody")
