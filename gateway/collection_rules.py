"""What a collection asks for while it cannot be searched, as far as it is known."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from django.db.models import Q

from rag.models import Collection, Visibility
from rag.questions import Candidates, RetrievalRequest

MOST_LEARNED = 4_096

Asked = tuple[int, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one of the collections of a request, and so for the request."""

    is_strict: bool = False
    is_required: bool = False


class KnownRules:
    """Remembers the rules of collections, for when their rows cannot be read.

    In one event loop, but for `read`.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._learned: OrderedDict[Asked, Rules] = OrderedDict()
        self._stated: dict[tuple[int | None, str], Rules] = {}

    def learn(self, request: RetrievalRequest, found: Candidates) -> None:
        """Take note of what a search has read."""
        asked = _asked(request)
        self._learned[asked] = Rules(found.is_strict, found.is_required)
        self._learned.move_to_end(asked)
        if len(self._learned) > MOST_LEARNED:
            self._learned.popitem(last=False)

    def state(self, rows: dict[tuple[int | None, str], Rules]) -> None:
        """Begin with what `read` gives."""
        self._stated = rows

    def of(self, request: RetrievalRequest) -> Rules:
        """Give the rules of a request's collections; none where nothing is known."""
        if (learned := self._learned.get(_asked(request))) is not None:
            return learned
        tenant = request.scope.tenant_id
        stated = [
            self._stated.get((owner, name), Rules())
            for name in request.collections
            for owner in (tenant, None)
        ]
        return Rules(
            is_strict=any(rules.is_strict for rules in stated),
            is_required=any(rules.is_required for rules in stated),
        )


def _asked(request: RetrievalRequest) -> Asked:
    return request.scope.tenant_id, request.scope.owner, request.collections


def read_rules() -> dict[tuple[int | None, str], Rules]:
    """Read the collections that have rules, by tenant (None: every tenant's) and name.

    Blocks.

    Raises:
        django.db.Error: The database is away.

    """
    fields = ("tenant_id", "name", "visibility", "is_strict", "is_required")
    bound = Collection.objects.filter(Q(is_strict=True) | Q(is_required=True))
    rules: dict[tuple[int | None, str], Rules] = {}
    for tenant, name, visibility, is_strict, is_required in bound.values_list(*fields):
        owner = None if visibility == Visibility.EVERYBODY else tenant
        rules[owner, name] = Rules(is_strict, is_required)
    return rules
