"""Fields that several rows have, each with its range and help."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from gateway.kinds import Source

MAX_WEIGHT = 1000
MAX_TIMEOUT_S = 3600


def in_range(name: str, low: float, high: float) -> Q:
    """Build the condition of a check constraint: low <= field <= high."""
    return Q(**{f"{name}__gte": low, f"{name}__lte": high})


def seconds(label: str, default: float, help_text: str) -> models.FloatField[Any, Any]:
    """Make a field for a timeout in seconds."""
    return models.FloatField(
        f"{label} (s)",
        default=default,
        validators=[MinValueValidator(0.1), MaxValueValidator(MAX_TIMEOUT_S)],
        help_text=help_text,
    )


def optional_seconds(label: str, help_text: str) -> models.FloatField[Any, Any]:
    """Make a field for a timeout that may be left to the provider."""
    return models.FloatField(
        f"{label} (s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(MAX_TIMEOUT_S)],
        help_text=f"{help_text} Empty: the provider's.",
    )


def price(label: str, help_text: str) -> models.DecimalField[Any, Any]:
    """Make a field for a price in USD per million tokens; empty is not zero."""
    return models.DecimalField(
        f"{label} price (USD/Mtok)",
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"{help_text}, in USD per million tokens. Empty: the price that AILB "
        "ships with, if it has one.",
    )


def source() -> models.CharField[Any, Any]:
    """Make the field that says who owns a row."""
    return models.CharField(
        max_length=16,
        choices=[(item.value, item.value) for item in Source],
        default=Source.OPERATOR,
        editable=False,
        help_text="Who owns this row: an operator, the environment, discovery or the "
        "simulator.",
    )
