"""The gRPC side: the network load balancer's ModuleService, on the same rows."""
