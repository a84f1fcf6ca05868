"""Collections, their documents and chunks: the truth that every index is built from."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from typing_extensions import override

from rag.chunking import CHUNKER, MAX_OVERLAP, MIN_CHUNK_TOKENS, ChunkSize
from rag.deletion import delete_chunks
from rag.validators import new_uid, validate_attributes, validate_name

MAX_NAME = 100
MAX_FILENAME = 255
DEFAULT_SIZE = ChunkSize()


class Visibility(models.TextChoices):
    """Who may read a collection; only its own tenant may change it."""

    TENANT = "tenant", "all keys of its tenant"
    KEYS = "keys", "the keys that are named"
    EVERYBODY = "everybody", "all tenants"


class Collection(models.Model):
    """Documents that are searched together, named within their tenant.

    How its chunks are made and embedded is locked: it stands on its index, and another
    index is built beside it to change that.
    """

    tenant = models.ForeignKey(
        "gateway.Tenant", on_delete=models.CASCADE, related_name="collections"
    )
    uid = models.CharField(max_length=32, unique=True, default=new_uid, editable=False)
    name = models.CharField(
        max_length=MAX_NAME,
        validators=[validate_name],
        help_text="What clients call it, within the tenant.",
    )
    description = models.TextField(blank=True, default="")
    owner = models.CharField(
        max_length=32,
        blank=True,
        default="",
        editable=False,
        help_text="Public id of the key that made it. Empty: no key.",
    )
    visibility = models.CharField(
        "who may read",
        max_length=16,
        choices=Visibility.choices,
        default=Visibility.TENANT,
        help_text="Whose requests may search it. Documents are added by keys of its "
        "own tenant alone.",
    )
    readers = models.ManyToManyField(
        "gateway.ApiKey",
        blank=True,
        related_name="+",
        help_text="The keys that may read it, where only named ones may.",
    )
    is_strict = models.BooleanField(
        "strict",
        default=False,
        help_text="On: the model is told to answer from the sources alone, and to say "
        "so when they hold nothing.",
    )
    is_required = models.BooleanField(
        "required",
        default=False,
        help_text="On: a request fails when the collection cannot be searched in time. "
        "Off: it is answered without, and a header says so.",
    )
    top_k = models.PositiveSmallIntegerField(
        "sources",
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text="Most chunks that are added where a request does not say how many.",
    )
    max_tokens = models.PositiveIntegerField(
        default=2_000,
        validators=[MinValueValidator(100), MaxValueValidator(200_000)],
        help_text="Most tokens that the sources add to a request.",
    )
    per_document = models.PositiveSmallIntegerField(
        "chunks of one document",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="At most so many chunks of one document. Empty: any number.",
    )
    min_score = models.FloatField(
        "least score",
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0 to 1: what scores less is left out.",
    )
    relative_cut = models.FloatField(
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0 to 1: what scores less than this share of the best is left out.",
    )
    joins_neighbours = models.BooleanField(
        "join neighbours",
        default=True,
        help_text="On: chunks that follow each other are given as one source.",
    )
    rerank_provider = models.ForeignKey(
        "gateway.Provider",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="A provider whose /rerank orders what was found. Empty: none.",
    )
    rerank_model = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="The model that it is asked for.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], name="collection_of_a_tenant"
            ),
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(visibility=Visibility.EVERYBODY),
                name="collection_of_everybody",
            ),
            models.CheckConstraint(condition=~Q(name=""), name="collection_name_given"),
        ]

    @override
    def __str__(self) -> str:
        return self.name


class IndexState(models.TextChoices):
    """Where an index of a collection stands."""

    BUILDING = "building", "is being built"
    ACTIVE = "active", "serves"
    PREVIOUS = "previous", "served before, and can again"
    DROPPED = "dropped", "is being deleted"


class Index(models.Model):
    """One way of cutting and embedding a collection's documents, and its chunks.

    Nothing of how it is made ever changes. `embedding` (`rag.embedder.EmbeddingId` as
    text) and `dimension` are known from the first vector on.
    """

    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="indexes"
    )
    uid = models.CharField(max_length=32, unique=True, default=new_uid, editable=False)
    state = models.CharField(
        max_length=8, choices=IndexState.choices, default=IndexState.BUILDING
    )
    model = models.CharField(
        "embedding model",
        max_length=500,
        blank=True,
        default="",
        help_text="Name or path for sentence-transformers. Empty: the packaged one.",
    )
    precision = models.CharField(
        max_length=4, choices=[("int8", "int8"), ("fp32", "fp32")], default="int8"
    )
    embedding = models.CharField(max_length=200, blank=True, default="")
    dimension = models.PositiveIntegerField(null=True, blank=True)
    chunker = models.CharField(max_length=32, default=CHUNKER)
    chunk_tokens = models.PositiveSmallIntegerField(
        default=DEFAULT_SIZE.tokens,
        validators=[MinValueValidator(MIN_CHUNK_TOKENS), MaxValueValidator(8_000)],
        help_text="Most tokens of a chunk, as the embedding model counts them.",
    )
    chunk_overlap = models.PositiveSmallIntegerField(
        default=DEFAULT_SIZE.overlap, validators=[MaxValueValidator(MAX_OVERLAP)]
    )
    problem = models.TextField(
        blank=True, default="", help_text="What it waits for. Empty: nothing."
    )
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "indexes"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "state"], name="index_once_a_state"
            )
        ]

    @override
    def __str__(self) -> str:
        return f"{self.collection} ({self.state})"


class DocumentState(models.TextChoices):
    """How far a version of a document is."""

    QUEUED = "queued", "queued"
    PARSING = "parsing", "parsing"
    EMBEDDING = "embedding", "embedding"
    READY = "ready", "ready"
    FAILED = "failed", "failed"


class Document(models.Model):
    """A document as clients know it, whatever version of it serves.

    `current` is the version that is found; `newest` the one that was brought last. They
    differ while a replacement is on its way, or when it has failed.
    """

    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="documents"
    )
    uid = models.CharField(max_length=64, editable=False)
    filename = models.CharField(max_length=MAX_FILENAME)
    attributes = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_attributes],
        help_text="What requests may filter by: a JSON object of at most 16 texts, "
        "numbers and truth values.",
    )
    owner = models.CharField(max_length=32, blank=True, default="", editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    current = models.ForeignKey(
        "Version",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    newest = models.ForeignKey(
        "Version",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["collection", "uid"], name="document_uid")
        ]
        indexes = [
            models.Index(fields=["collection", "-id"], name="document_recent"),
            models.Index(fields=["collection", "filename"], name="document_filename"),
        ]

    @override
    def __str__(self) -> str:
        return self.filename


class Version(models.Model):
    """One content of a document: its file, and what became of it.

    `chars` and `page_spans` ([number, start, end] each) tell of its text. `attempts`
    counts how often its parsing was begun; `chunks` are those of the index that serves,
    and of them `chunks_done` have their vector.
    """

    document = models.ForeignKey(
        Document, on_delete=models.CASCADE, related_name="versions"
    )
    uid = models.CharField(max_length=32, unique=True, default=new_uid, editable=False)
    number = models.PositiveIntegerField(default=1)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    media_type = models.CharField(max_length=100, blank=True, default="")
    title = models.TextField(blank=True, default="")
    state = models.CharField(
        max_length=9, choices=DocumentState.choices, default=DocumentState.QUEUED
    )
    code = models.CharField(max_length=32, blank=True, default="")
    reason = models.TextField(
        blank=True, default="", help_text="Why it failed, or what it waits for."
    )
    pages = models.PositiveIntegerField(null=True, blank=True)
    page_spans = models.JSONField(default=list)
    chars = models.PositiveIntegerField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    chunks = models.PositiveIntegerField(default=0)
    chunks_done = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["document_id", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["document", "number"], name="version_number"
            )
        ]
        indexes = [
            models.Index(
                fields=["state", "id"],
                condition=~Q(state__in=[DocumentState.READY, DocumentState.FAILED]),
                name="version_unfinished",
            ),
            models.Index(fields=["sha256"], name="version_sha256"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.document}, version {self.number}"


class VectorState(models.TextChoices):
    """How far a chunk's vector is: made, and mirrored to the vector store."""

    PENDING = "pending", "waits for its vector"
    EMBEDDED = "embedded", "has its vector"
    INDEXED = "indexed", "has its vector, and so has the vector store"
    FAILED = "failed", "cannot be embedded"


class Chunk(models.Model):
    """A part of a version's text, `[start:end]`, in one index.

    `uid` is made of version, index and `seq`, so that doing work again changes nothing.
    `terms` are what the keyword index finds it by, joined by spaces.
    """

    index = models.ForeignKey(Index, on_delete=delete_chunks, related_name="chunks")
    version = models.ForeignKey(
        Version, on_delete=delete_chunks, related_name="chunk_set"
    )
    uid = models.CharField(max_length=32, unique=True)
    seq = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    page = models.PositiveIntegerField(null=True)
    heading_path = models.JSONField(default=list)
    tokens = models.PositiveIntegerField()
    text = models.TextField()
    terms = models.TextField()
    vector_state = models.CharField(
        max_length=8, choices=VectorState.choices, default=VectorState.PENDING
    )

    class Meta:
        ordering = ["version_id", "index_id", "seq"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "index", "seq"], name="chunk_seq"
            )
        ]
        indexes = [
            models.Index(
                fields=["vector_state", "id"],
                condition=~Q(vector_state=VectorState.INDEXED),
                name="chunk_unfinished",
            )
        ]

    @override
    def __str__(self) -> str:
        return self.uid


class Cut(models.Model):
    """A version whose chunks in one index are all written, with or without vectors."""

    index = models.ForeignKey(Index, on_delete=models.CASCADE, related_name="cuts")
    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="cuts")
    chunks = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["index", "version"], name="cut_once")
        ]

    @override
    def __str__(self) -> str:
        return f"{self.version_id} in {self.index_id}"


class ChunkVector(models.Model):
    """A chunk's vector: 16-bit little-endian floats, of its index's embedding."""

    chunk = models.OneToOneField(
        Chunk, on_delete=models.DO_NOTHING, primary_key=True, related_name="vector"
    )
    data = models.BinaryField()

    @override
    def __str__(self) -> str:
        return f"vector of {self.chunk_id}"


class ChunkErasure(models.Model):
    """A chunk that is gone here, and is still to be removed from the vector store."""

    index_uid = models.CharField(max_length=32)
    uid = models.CharField(max_length=32, unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    @override
    def __str__(self) -> str:
        return self.uid


class StoredFile(models.Model):
    """A file of `/v1/files`: bytes that a client keeps here, to add to collections."""

    tenant = models.ForeignKey(
        "gateway.Tenant", on_delete=models.CASCADE, related_name="stored_files"
    )
    uid = models.CharField(max_length=32, unique=True, default=new_uid, editable=False)
    filename = models.CharField(max_length=MAX_FILENAME)
    purpose = models.CharField(max_length=32)
    owner = models.CharField(max_length=32, blank=True, default="", editable=False)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["tenant", "-id"], name="stored_file_recent")]

    @override
    def __str__(self) -> str:
        return self.filename


class FileErasure(models.Model):
    """A folder of files that belongs to nothing any more; upkeep removes it."""

    folder = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    @override
    def __str__(self) -> str:
        return self.folder
