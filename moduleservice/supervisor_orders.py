"""What the gRPC process and the supervisor ask of each other, and where they meet."""

from __future__ import annotations

from enum import StrEnum

# Names the inherited socket in the gRPC process's environment.
FD_VARIABLE = "AILB_SUPERVISOR_FD"
MOST_WORKERS = 64


class Order(StrEnum):
    """What may be asked: LEAVE by the supervisor, the others by the gRPC process.

    WORKERS and SCALE are answered with `running` and `wanted`. SCALE brings `workers`,
    STOP `is_graceful` and `timeout_s` (seconds or null). LEAVE is answered when the NLB
    has been told that this instance goes.
    """

    WORKERS = "workers"
    SCALE = "scale"
    STOP = "stop"
    LEAVE = "leave"
