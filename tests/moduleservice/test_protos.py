"""The published protos are the contract, and the Python in the tree is made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor

from moduleservice.pb import module_service_pb2, nlb_pb2, types_pb2
from moduleservice.protos import GENERATED, ROOT, generate

MODULE_RPCS = (
    "GetStatus", "Reload", "Shutdown", "CanHandle", "GetRoutes", "UpdateRoutes",
    "DeleteRoute", "GetRateLimits", "SetRateLimit", "ApplyRateLimit",
    "RemoveRateLimit", "GetMetrics", "Scale", "GetInstances", "SetTrafficWeight",
    "GetActiveVersion", "Rollback", "PromoteVersion", "HealthCheck", "GetStats",
    "StreamMetrics", "GetConfig", "UpdateConfig",
)  # fmt: skip
NLB_RPCS = (
    "RegisterModule", "UnregisterModule", "Heartbeat", "ListModules", "GetModuleInfo",
    "UpdateRouting", "GetRoutingTable", "RouteRequest", "ValidateRoute",
    "ReportMetrics", "GetNLBMetrics", "GetModuleMetrics", "StreamNLBMetrics",
    "CheckHealth", "GetNLBStatus", "UpdateNLBConfig", "GetNLBConfig", "RebalanceLoad",
    "GetLoadDistribution", "TriggerScaling",
)  # fmt: skip


def rpcs_of(file: FileDescriptor, service: str) -> tuple[str, ...]:
    return tuple(method.name for method in file.services_by_name[service].methods)


def fields_of(file: FileDescriptor, message: str) -> dict[str, int]:
    fields = file.message_types_by_name[message].fields
    return {field.name: field.number for field in fields}


def test_the_python_in_the_tree_is_what_the_compiler_makes(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in GENERATED.glob("*_pb2*")}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


def test_anybody_can_compile_the_published_file(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", "proto"),
            *(f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"),
            "proto/marchproxy/module_service.proto",
        ],
        cwd=ROOT,
        check=True,
    )
    made = {path.name for path in (tmp_path / "marchproxy").iterdir()}
    assert made == {"module_service_pb2.py", "module_service_pb2_grpc.py"}


def test_both_services_have_every_call_of_the_contract() -> None:
    module, nlb = module_service_pb2.DESCRIPTOR, nlb_pb2.DESCRIPTOR
    assert module.package == nlb.package == types_pb2.DESCRIPTOR.package == "marchproxy"
    assert rpcs_of(module, "ModuleService") == MODULE_RPCS
    assert rpcs_of(nlb, "NLBService") == NLB_RPCS


def test_fields_have_the_numbers_of_the_contract() -> None:
    assert fields_of(types_pb2.DESCRIPTOR, "ModuleStats") == {
        "instance_id": 1, "total_requests": 2, "successful_requests": 3,
        "failed_requests": 4, "active_connections": 5, "total_connections": 6,
        "avg_latency_ms": 7, "p50_latency_ms": 8, "p95_latency_ms": 9,
        "p99_latency_ms": 10, "bytes_received": 11, "bytes_sent": 12,
        "cpu_usage_percent": 13, "memory_usage_mb": 14, "since": 15,
        "custom_stats": 16,
    }  # fmt: skip
    assert fields_of(types_pb2.DESCRIPTOR, "Route") == {
        "route_id": 1, "protocol": 2, "source_pattern": 3, "destination_pattern": 4,
        "source_port": 5, "destination_port": 6, "headers": 7, "path_pattern": 8,
        "priority": 9, "metadata": 10,
    }  # fmt: skip
    assert fields_of(module_service_pb2.DESCRIPTOR, "PromoteVersionRequest") == {
        "instance_id": 1, "version": 2, "immediate": 3, "promotion_rate": 4,
    }  # fmt: skip
    assert fields_of(nlb_pb2.DESCRIPTOR, "HeartbeatResponse") == {
        "acknowledged": 1, "message": 2, "server_time": 3, "should_reload": 4,
        "should_scale": 5, "instructions": 6,
    }  # fmt: skip
    numbers = types_pb2.DESCRIPTOR.enum_types_by_name["Protocol"].values_by_name
    assert numbers["PROTOCOL_HTTP"].number == 3
    assert numbers["PROTOCOL_DASH"].number == 16
