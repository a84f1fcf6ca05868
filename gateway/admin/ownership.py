"""How pages show who owns a row and whether it may serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from typing_extensions import override

from gateway.kinds import Source
from gateway.models.configuration import Row

COLOURS = {
    "enabled": "success",
    "simulated": "info",
    "disabled": "warning",
    "withdrawn": "warning",
    "credential unreadable": "danger",
}
OWNERS = {
    Source.OPERATOR: "Made here, by an operator.",
    Source.ENVIRONMENT: "Comes from environment variables and is refreshed at every "
    "start; what cannot be edited here is changed there.",
    Source.DISCOVERY: "Follows what the provider says it has.",
    Source.SIMULATOR: "A simulator of AILB's own: its answers are made up. It goes as "
    "soon as a real provider is there.",
}
WITHDRAWN = (
    " The variable or the upstream model behind it is gone, so it was disabled; it "
    "comes back as it was when that does."
)


def serving_state(row: Row) -> str:
    """Name the state of a row in a word of `COLOURS`."""
    if row.is_withdrawn and not row.enabled:
        return "withdrawn"
    if not row.enabled:
        return "disabled"
    return "simulated" if row.source == Source.SIMULATOR else "enabled"


if TYPE_CHECKING:
    Pages = admin.ModelAdmin[Any]
else:  # mixed into the theme's
    Pages = object


class OwnedPages(Pages):
    """Pages of rows with an owner: only an operator's own row has all its fields open."""

    owned: tuple[str, ...] = ()
    """What belongs to the owner, as read-only fields of other owners' rows."""

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Close what belongs to the environment, discovery or the simulator."""
        closed = () if obj is None or obj.source == Source.OPERATOR else self.owned
        return (*self.readonly_fields, *closed)

    @admin.display(description="Origin")
    def ownership(self, row: Row) -> str:
        """Say who owns a row and what follows from that."""
        said = OWNERS[Source(row.source)]
        return said + WITHDRAWN if row.is_withdrawn else said
