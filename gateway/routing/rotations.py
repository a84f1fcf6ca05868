"""Smooth weighted round robin: one rotation per model, priority and membership (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.snapshot import Deployment, Snapshot

REMEMBERED = 32  # memberships per model; the one used longest ago is forgotten

Members = tuple[tuple[int, int], ...]  # (deployment id, weight)


class Rotations:
    """Where every rotation stands; nginx's smooth weighted round robin.

    Each pick adds its weight to every member's value, takes the largest and subtracts
    the total from it, so 5, 1, 1 gives a a b a c a a and not a burst. Each set of
    members turns on its own: deployments that come and go with what requests need
    (images, tools) cannot starve each other. A set seen for the first time goes on from
    the one used last, and a member new to it starts at the smallest value.
    """

    def __init__(self) -> None:
        """Start with no rotation."""
        self._rotations: dict[tuple[str, int], dict[Members, dict[int, int]]] = {}

    def pick(self, group: Sequence[Deployment]) -> list[Deployment]:
        """Turn once; the pick comes first, then the others as their turns stand.

        The group is of one model and one priority, and is not empty.
        """
        values = self._values(group)
        ranked = _ranked(group, values)
        total = 0
        for deployment in group:
            values[deployment.id] += deployment.weight
            total += deployment.weight
        values[ranked[0].id] -= total
        return ranked

    def peek(self, group: Sequence[Deployment]) -> list[Deployment]:
        """Give the order of `pick` without turning."""
        return _ranked(group, self._values(group))

    def retain(self, snapshot: Snapshot) -> None:
        """Forget models that are no longer configured."""
        self._rotations = {
            key: memberships
            for key, memberships in self._rotations.items()
            if key[0] in snapshot.models
        }

    def _values(self, group: Sequence[Deployment]) -> dict[int, int]:
        first = group[0]
        memberships = self._rotations.setdefault((first.model, first.priority), {})
        members = tuple([(member.id, member.weight) for member in group])
        values = memberships.pop(members, None)
        if values is None:
            last = memberships[next(reversed(memberships))] if memberships else {}
            values = _joined(members, last)
            if len(memberships) >= REMEMBERED:
                del memberships[next(iter(memberships))]
        memberships[members] = values  # at the end: the one used last
        return values


def _joined(members: Members, last: dict[int, int]) -> dict[int, int]:
    known = [last[member_id] for member_id, _ in members if member_id in last]
    start = min(known, default=0)
    return {member_id: last.get(member_id, start) for member_id, _ in members}


def _ranked(group: Sequence[Deployment], values: dict[int, int]) -> list[Deployment]:
    return sorted(
        group, key=lambda member: values[member.id] + member.weight, reverse=True
    )
