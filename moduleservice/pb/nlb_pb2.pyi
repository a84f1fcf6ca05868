import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from moduleservice.pb import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegisterModuleRequest(_message.Message):
    __slots__ = ("instance", "initial_routes", "health_config", "capabilities")
    class CapabilitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_ROUTES_FIELD_NUMBER: _ClassVar[int]
    HEALTH_CONFIG_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.ModuleInstance
    initial_routes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Route]
    health_config: _types_pb2.HealthCheckConfig
    capabilities: _containers.ScalarMap[str, str]
    def __init__(self, instance: _Optional[_Union[_types_pb2.ModuleInstance, _Mapping]] = ..., initial_routes: _Optional[_Iterable[_Union[_types_pb2.Route, _Mapping]]] = ..., health_config: _Optional[_Union[_types_pb2.HealthCheckConfig, _Mapping]] = ..., capabilities: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RegisterModuleResponse(_message.Message):
    __slots__ = ("success", "message", "registration_id", "registered_at", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    registration_id: str
    registered_at: _timestamp_pb2.Timestamp
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., registration_id: _Optional[str] = ..., registered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class UnregisterModuleRequest(_message.Message):
    __slots__ = ("instance_id", "registration_id", "graceful", "drain_timeout_seconds")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    registration_id: str
    graceful: bool
    drain_timeout_seconds: int
    def __init__(self, instance_id: _Optional[str] = ..., registration_id: _Optional[str] = ..., graceful: _Optional[bool] = ..., drain_timeout_seconds: _Optional[int] = ...) -> None: ...

class UnregisterModuleResponse(_message.Message):
    __slots__ = ("success", "message", "active_connections_drained", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_CONNECTIONS_DRAINED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    active_connections_drained: int
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., active_connections_drained: _Optional[int] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("instance_id", "registration_id", "status", "current_stats", "timestamp")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STATS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    registration_id: str
    status: _types_pb2.HealthStatus
    current_stats: _types_pb2.ModuleStats
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, instance_id: _Optional[str] = ..., registration_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.HealthStatus, str]] = ..., current_stats: _Optional[_Union[_types_pb2.ModuleStats, _Mapping]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("acknowledged", "message", "server_time", "should_reload", "should_scale", "instructions")
    class InstructionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    SHOULD_RELOAD_FIELD_NUMBER: _ClassVar[int]
    SHOULD_SCALE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    message: str
    server_time: _timestamp_pb2.Timestamp
    should_reload: bool
    should_scale: bool
    instructions: _containers.ScalarMap[str, str]
    def __init__(self, acknowledged: _Optional[bool] = ..., message: _Optional[str] = ..., server_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., should_reload: _Optional[bool] = ..., should_scale: _Optional[bool] = ..., instructions: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListModulesRequest(_message.Message):
    __slots__ = ("module_type_filter", "status_filter", "query")
    MODULE_TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FILTER_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    module_type_filter: _types_pb2.ModuleType
    status_filter: _types_pb2.HealthStatus
    query: _types_pb2.Query
    def __init__(self, module_type_filter: _Optional[_Union[_types_pb2.ModuleType, str]] = ..., status_filter: _Optional[_Union[_types_pb2.HealthStatus, str]] = ..., query: _Optional[_Union[_types_pb2.Query, _Mapping]] = ...) -> None: ...

class ListModulesResponse(_message.Message):
    __slots__ = ("modules", "total_modules", "pagination")
    MODULES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MODULES_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    modules: _containers.RepeatedCompositeFieldContainer[_types_pb2.ModuleInstance]
    total_modules: int
    pagination: _types_pb2.Pagination
    def __init__(self, modules: _Optional[_Iterable[_Union[_types_pb2.ModuleInstance, _Mapping]]] = ..., total_modules: _Optional[int] = ..., pagination: _Optional[_Union[_types_pb2.Pagination, _Mapping]] = ...) -> None: ...

class GetModuleInfoRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    def __init__(self, instance_id: _Optional[str] = ...) -> None: ...

class GetModuleInfoResponse(_message.Message):
    __slots__ = ("instance", "routes", "stats", "deployment_config", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    instance: _types_pb2.ModuleInstance
    routes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Route]
    stats: _types_pb2.ModuleStats
    deployment_config: _types_pb2.BlueGreenConfig
    details: _containers.ScalarMap[str, str]
    def __init__(self, instance: _Optional[_Union[_types_pb2.ModuleInstance, _Mapping]] = ..., routes: _Optional[_Iterable[_Union[_types_pb2.Route, _Mapping]]] = ..., stats: _Optional[_Union[_types_pb2.ModuleStats, _Mapping]] = ..., deployment_config: _Optional[_Union[_types_pb2.BlueGreenConfig, _Mapping]] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UpdateRoutingRequest(_message.Message):
    __slots__ = ("routes", "replace_all", "source_instance_id", "validate_only")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    REPLACE_ALL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Route]
    replace_all: bool
    source_instance_id: str
    validate_only: bool
    def __init__(self, routes: _Optional[_Iterable[_Union[_types_pb2.Route, _Mapping]]] = ..., replace_all: _Optional[bool] = ..., source_instance_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateRoutingResponse(_message.Message):
    __slots__ = ("success", "message", "routes_updated", "validation_errors", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTES_UPDATED_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    routes_updated: int
    validation_errors: _containers.RepeatedScalarFieldContainer[str]
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., routes_updated: _Optional[int] = ..., validation_errors: _Optional[_Iterable[str]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class GetRoutingTableRequest(_message.Message):
    __slots__ = ("protocol_filter", "destination_filter", "query")
    PROTOCOL_FILTER_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FILTER_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    protocol_filter: _types_pb2.Protocol
    destination_filter: str
    query: _types_pb2.Query
    def __init__(self, protocol_filter: _Optional[_Union[_types_pb2.Protocol, str]] = ..., destination_filter: _Optional[str] = ..., query: _Optional[_Union[_types_pb2.Query, _Mapping]] = ...) -> None: ...

class RoutingEntry(_message.Message):
    __slots__ = ("route", "target_instance_id", "target_module_type", "current_connections", "created_at", "last_used")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULE_TYPE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    route: _types_pb2.Route
    target_instance_id: str
    target_module_type: _types_pb2.ModuleType
    current_connections: int
    created_at: _timestamp_pb2.Timestamp
    last_used: _timestamp_pb2.Timestamp
    def __init__(self, route: _Optional[_Union[_types_pb2.Route, _Mapping]] = ..., target_instance_id: _Optional[str] = ..., target_module_type: _Optional[_Union[_types_pb2.ModuleType, str]] = ..., current_connections: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_used: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetRoutingTableResponse(_message.Message):
    __slots__ = ("entries", "total_entries", "pagination")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[RoutingEntry]
    total_entries: int
    pagination: _types_pb2.Pagination
    def __init__(self, entries: _Optional[_Iterable[_Union[RoutingEntry, _Mapping]]] = ..., total_entries: _Optional[int] = ..., pagination: _Optional[_Union[_types_pb2.Pagination, _Mapping]] = ...) -> None: ...

class RouteRequestRequest(_message.Message):
    __slots__ = ("route", "context", "dry_run")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    route: _types_pb2.Route
    context: _containers.ScalarMap[str, str]
    dry_run: bool
    def __init__(self, route: _Optional[_Union[_types_pb2.Route, _Mapping]] = ..., context: _Optional[_Mapping[str, str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class RouteRequestResponse(_message.Message):
    __slots__ = ("routed", "target_instance_id", "target_module_type", "target_address", "priority", "message", "error")
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    routed: bool
    target_instance_id: str
    target_module_type: _types_pb2.ModuleType
    target_address: str
    priority: int
    message: str
    error: _types_pb2.Error
    def __init__(self, routed: _Optional[bool] = ..., target_instance_id: _Optional[str] = ..., target_module_type: _Optional[_Union[_types_pb2.ModuleType, str]] = ..., target_address: _Optional[str] = ..., priority: _Optional[int] = ..., message: _Optional[str] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class ValidateRouteRequest(_message.Message):
    __slots__ = ("route",)
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    route: _types_pb2.Route
    def __init__(self, route: _Optional[_Union[_types_pb2.Route, _Mapping]] = ...) -> None: ...

class ValidateRouteResponse(_message.Message):
    __slots__ = ("valid", "has_handler", "capable_instances", "validation_errors", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALID_FIELD_NUMBER: _ClassVar[int]
    HAS_HANDLER_FIELD_NUMBER: _ClassVar[int]
    CAPABLE_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ERRORS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    valid: bool
    has_handler: bool
    capable_instances: _containers.RepeatedScalarFieldContainer[str]
    validation_errors: _containers.RepeatedScalarFieldContainer[str]
    details: _containers.ScalarMap[str, str]
    def __init__(self, valid: _Optional[bool] = ..., has_handler: _Optional[bool] = ..., capable_instances: _Optional[_Iterable[str]] = ..., validation_errors: _Optional[_Iterable[str]] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ReportMetricsRequest(_message.Message):
    __slots__ = ("instance_id", "metrics", "reported_at")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    REPORTED_AT_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    metrics: _types_pb2.ModuleMetrics
    reported_at: _timestamp_pb2.Timestamp
    def __init__(self, instance_id: _Optional[str] = ..., metrics: _Optional[_Union[_types_pb2.ModuleMetrics, _Mapping]] = ..., reported_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReportMetricsResponse(_message.Message):
    __slots__ = ("acknowledged", "message", "processed_at")
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_AT_FIELD_NUMBER: _ClassVar[int]
    acknowledged: bool
    message: str
    processed_at: _timestamp_pb2.Timestamp
    def __init__(self, acknowledged: _Optional[bool] = ..., message: _Optional[str] = ..., processed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetNLBMetricsRequest(_message.Message):
    __slots__ = ("metric_names", "start_time", "end_time", "aggregate")
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    aggregate: bool
    def __init__(self, metric_names: _Optional[_Iterable[str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aggregate: _Optional[bool] = ...) -> None: ...

class GetNLBMetricsResponse(_message.Message):
    __slots__ = ("metrics", "module_metrics", "collected_at")
    class ModuleMetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.ModuleMetrics
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.ModuleMetrics, _Mapping]] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MODULE_METRICS_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AT_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.RepeatedCompositeFieldContainer[_types_pb2.MetricDataPoint]
    module_metrics: _containers.MessageMap[str, _types_pb2.ModuleMetrics]
    collected_at: _timestamp_pb2.Timestamp
    def __init__(self, metrics: _Optional[_Iterable[_Union[_types_pb2.MetricDataPoint, _Mapping]]] = ..., module_metrics: _Optional[_Mapping[str, _types_pb2.ModuleMetrics]] = ..., collected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetModuleMetricsRequest(_message.Message):
    __slots__ = ("instance_id", "metric_names", "start_time", "end_time")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, instance_id: _Optional[str] = ..., metric_names: _Optional[_Iterable[str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetModuleMetricsResponse(_message.Message):
    __slots__ = ("metrics", "collected_at")
    METRICS_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AT_FIELD_NUMBER: _ClassVar[int]
    metrics: _types_pb2.ModuleMetrics
    collected_at: _timestamp_pb2.Timestamp
    def __init__(self, metrics: _Optional[_Union[_types_pb2.ModuleMetrics, _Mapping]] = ..., collected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamNLBMetricsRequest(_message.Message):
    __slots__ = ("interval_seconds", "metric_names", "include_modules")
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_MODULES_FIELD_NUMBER: _ClassVar[int]
    interval_seconds: int
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    include_modules: bool
    def __init__(self, interval_seconds: _Optional[int] = ..., metric_names: _Optional[_Iterable[str]] = ..., include_modules: _Optional[bool] = ...) -> None: ...

class StreamNLBMetricsResponse(_message.Message):
    __slots__ = ("metrics", "module_metrics", "timestamp")
    class ModuleMetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.ModuleMetrics
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.ModuleMetrics, _Mapping]] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MODULE_METRICS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.RepeatedCompositeFieldContainer[_types_pb2.MetricDataPoint]
    module_metrics: _containers.MessageMap[str, _types_pb2.ModuleMetrics]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, metrics: _Optional[_Iterable[_Union[_types_pb2.MetricDataPoint, _Mapping]]] = ..., module_metrics: _Optional[_Mapping[str, _types_pb2.ModuleMetrics]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CheckHealthRequest(_message.Message):
    __slots__ = ("deep_check", "check_modules")
    DEEP_CHECK_FIELD_NUMBER: _ClassVar[int]
    CHECK_MODULES_FIELD_NUMBER: _ClassVar[int]
    deep_check: bool
    check_modules: bool
    def __init__(self, deep_check: _Optional[bool] = ..., check_modules: _Optional[bool] = ...) -> None: ...

class CheckHealthResponse(_message.Message):
    __slots__ = ("status", "message", "module_health", "checks", "checked_at")
    class ModuleHealthEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.HealthStatus
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.HealthStatus, str]] = ...) -> None: ...
    class ChecksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODULE_HEALTH_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    CHECKED_AT_FIELD_NUMBER: _ClassVar[int]
    status: _types_pb2.HealthStatus
    message: str
    module_health: _containers.ScalarMap[str, _types_pb2.HealthStatus]
    checks: _containers.ScalarMap[str, str]
    checked_at: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[_types_pb2.HealthStatus, str]] = ..., message: _Optional[str] = ..., module_health: _Optional[_Mapping[str, _types_pb2.HealthStatus]] = ..., checks: _Optional[_Mapping[str, str]] = ..., checked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetNLBStatusRequest(_message.Message):
    __slots__ = ("include_modules",)
    INCLUDE_MODULES_FIELD_NUMBER: _ClassVar[int]
    include_modules: bool
    def __init__(self, include_modules: _Optional[bool] = ...) -> None: ...

class GetNLBStatusResponse(_message.Message):
    __slots__ = ("status", "version", "started_at", "total_requests", "active_connections", "registered_modules", "modules_by_type", "modules", "details")
    class ModulesByTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_MODULES_FIELD_NUMBER: _ClassVar[int]
    MODULES_BY_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    status: _types_pb2.HealthStatus
    version: str
    started_at: _timestamp_pb2.Timestamp
    total_requests: int
    active_connections: int
    registered_modules: int
    modules_by_type: _containers.ScalarMap[str, int]
    modules: _containers.RepeatedCompositeFieldContainer[_types_pb2.ModuleInstance]
    details: _containers.ScalarMap[str, str]
    def __init__(self, status: _Optional[_Union[_types_pb2.HealthStatus, str]] = ..., version: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total_requests: _Optional[int] = ..., active_connections: _Optional[int] = ..., registered_modules: _Optional[int] = ..., modules_by_type: _Optional[_Mapping[str, int]] = ..., modules: _Optional[_Iterable[_Union[_types_pb2.ModuleInstance, _Mapping]]] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UpdateNLBConfigRequest(_message.Message):
    __slots__ = ("config", "validate_only", "restart_required")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    RESTART_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    config: _types_pb2.ConfigUpdate
    validate_only: bool
    restart_required: bool
    def __init__(self, config: _Optional[_Union[_types_pb2.ConfigUpdate, _Mapping]] = ..., validate_only: _Optional[bool] = ..., restart_required: _Optional[bool] = ...) -> None: ...

class UpdateNLBConfigResponse(_message.Message):
    __slots__ = ("success", "message", "validation_passed", "validation_errors", "requires_restart", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_PASSED_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ERRORS_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_RESTART_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    validation_passed: bool
    validation_errors: _containers.RepeatedScalarFieldContainer[str]
    requires_restart: bool
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., validation_passed: _Optional[bool] = ..., validation_errors: _Optional[_Iterable[str]] = ..., requires_restart: _Optional[bool] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class GetNLBConfigRequest(_message.Message):
    __slots__ = ("config_type",)
    CONFIG_TYPE_FIELD_NUMBER: _ClassVar[int]
    config_type: str
    def __init__(self, config_type: _Optional[str] = ...) -> None: ...

class GetNLBConfigResponse(_message.Message):
    __slots__ = ("configs", "last_updated")
    CONFIGS_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_FIELD_NUMBER: _ClassVar[int]
    configs: _containers.RepeatedCompositeFieldContainer[_types_pb2.ConfigUpdate]
    last_updated: _timestamp_pb2.Timestamp
    def __init__(self, configs: _Optional[_Iterable[_Union[_types_pb2.ConfigUpdate, _Mapping]]] = ..., last_updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RebalanceLoadRequest(_message.Message):
    __slots__ = ("force", "target_instances", "strategy")
    FORCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    force: bool
    target_instances: _containers.RepeatedScalarFieldContainer[str]
    strategy: str
    def __init__(self, force: _Optional[bool] = ..., target_instances: _Optional[_Iterable[str]] = ..., strategy: _Optional[str] = ...) -> None: ...

class RebalanceLoadResponse(_message.Message):
    __slots__ = ("success", "message", "previous_distribution", "new_distribution", "error")
    class PreviousDistributionEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NewDistributionEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    NEW_DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    previous_distribution: _containers.ScalarMap[str, int]
    new_distribution: _containers.ScalarMap[str, int]
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., previous_distribution: _Optional[_Mapping[str, int]] = ..., new_distribution: _Optional[_Mapping[str, int]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...

class GetLoadDistributionRequest(_message.Message):
    __slots__ = ("module_type_filter", "include_historical")
    MODULE_TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HISTORICAL_FIELD_NUMBER: _ClassVar[int]
    module_type_filter: _types_pb2.ModuleType
    include_historical: bool
    def __init__(self, module_type_filter: _Optional[_Union[_types_pb2.ModuleType, str]] = ..., include_historical: _Optional[bool] = ...) -> None: ...

class GetLoadDistributionResponse(_message.Message):
    __slots__ = ("distribution", "balance_score", "measured_at")
    class DistributionEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: LoadInfo
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[LoadInfo, _Mapping]] = ...) -> None: ...
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    BALANCE_SCORE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    distribution: _containers.MessageMap[str, LoadInfo]
    balance_score: float
    measured_at: _timestamp_pb2.Timestamp
    def __init__(self, distribution: _Optional[_Mapping[str, LoadInfo]] = ..., balance_score: _Optional[float] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LoadInfo(_message.Message):
    __slots__ = ("instance_id", "active_connections", "cpu_usage_percent", "memory_usage_mb", "requests_per_second", "avg_latency_ms", "queue_depth", "load_score")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    CPU_USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_MB_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    AVG_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    LOAD_SCORE_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    active_connections: int
    cpu_usage_percent: float
    memory_usage_mb: float
    requests_per_second: int
    avg_latency_ms: float
    queue_depth: int
    load_score: float
    def __init__(self, instance_id: _Optional[str] = ..., active_connections: _Optional[int] = ..., cpu_usage_percent: _Optional[float] = ..., memory_usage_mb: _Optional[float] = ..., requests_per_second: _Optional[int] = ..., avg_latency_ms: _Optional[float] = ..., queue_depth: _Optional[int] = ..., load_score: _Optional[float] = ...) -> None: ...

class TriggerScalingRequest(_message.Message):
    __slots__ = ("instance_id", "module_type", "scaling_action", "target_instances", "config")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    MODULE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SCALING_ACTION_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    module_type: _types_pb2.ModuleType
    scaling_action: str
    target_instances: int
    config: _types_pb2.ScalingConfig
    def __init__(self, instance_id: _Optional[str] = ..., module_type: _Optional[_Union[_types_pb2.ModuleType, str]] = ..., scaling_action: _Optional[str] = ..., target_instances: _Optional[int] = ..., config: _Optional[_Union[_types_pb2.ScalingConfig, _Mapping]] = ...) -> None: ...

class TriggerScalingResponse(_message.Message):
    __slots__ = ("success", "message", "current_instances", "target_instances", "scaling_action", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    SCALING_ACTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    current_instances: int
    target_instances: int
    scaling_action: str
    error: _types_pb2.Error
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., current_instances: _Optional[int] = ..., target_instances: _Optional[int] = ..., scaling_action: _Optional[str] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...
