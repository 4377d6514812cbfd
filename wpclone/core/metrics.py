"""Every metric of the service, declared in one place. Labels are bounded: no job, clone or customer id is ever one."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)
_DELAY_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_CALL_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 600)


class Metrics:
    """The metrics of one process, kept in the registry it was given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.tasks = Counter("clone_tasks_total", "Jobs that ended, by kind and status.", ["kind", "status"], registry=registry)
        self.task_seconds = Histogram(
            "clone_task_duration_seconds", "From a job's acceptance to its end.", ["kind"], registry=registry, buckets=_SECONDS
        )
        self.step_seconds = Histogram(
            "clone_step_duration_seconds", "One run of one step.", ["kind", "step"], registry=registry, buckets=_SECONDS
        )
        self.start_delay_seconds = Histogram(
            "clone_start_delay_seconds", "From a job being due to its claim.", ["kind"], registry=registry, buckets=_SECONDS
        )
        self.queue_depth = Gauge("clone_queue_depth", "Jobs that may run now and do not.", registry=registry)
        self.queue_oldest_seconds = Gauge("clone_queue_oldest_seconds", "How long the oldest of them waits.", registry=registry)
        self.queue_running = Gauge("clone_queue_running", "Jobs that run, at whichever worker.", registry=registry)
        self.jobs_running = Gauge("clone_jobs_running", "Jobs running in this process.", registry=registry)
        self.needs_attention = Gauge("clone_needs_attention", "Jobs whose undo gave up.", registry=registry)
        self.lapses = Counter("clone_lapses_total", "Claims taken over because their lease had ended.", registry=registry)
        self.stale_writes = Counter("clone_stale_writes_total", "Writes refused because the fence had moved.", registry=registry)
        self.steps_retried = Counter(
            "clone_step_retries_total", "Steps put off after a failure.", ["kind", "step"], registry=registry
        )
        self.rings = Counter("clone_rings_total", "Rings the relay sent.", registry=registry)
        self.unreadable_rings = Counter(
            "clone_unreadable_rings_total", "Rings dropped as unreadable or unknown.", registry=registry
        )
        self.loop_delay_seconds = Histogram(
            "clone_loop_delay_seconds", "How late the event loop woke; looked at four times a second.", registry=registry,
            buckets=_DELAY_SECONDS,
        )  # fmt: skip
        self.bus_connected = Gauge("clone_bus_connected", "1 while NATS is reachable.", registry=registry)
        self.bus_storage_bytes = Gauge("clone_bus_storage_bytes", "What JetStream keeps on disk for us.", registry=registry)
        self.bus_storage_limit_bytes = Gauge(
            "clone_bus_storage_limit_bytes", "The most it may keep; infinite without a limit.", registry=registry
        )
        self.orphans_unknown = Gauge(
            "clone_orphans_unknown", "Clones and restores that no record names; reported, not removed.", registry=registry
        )
        self.orphans_known = Gauge(
            "clone_orphans_known", "Leavings of clones and restores whose record says that they are over.", registry=registry
        )
        self.orphans_removed = Counter(
            "clone_orphans_removed_total", "Clones and restores whose leavings the sweep removed.", registry=registry
        )
        self.cluster_relists = Counter(
            "clone_cluster_relists_total", "Lists of a kind of Kubernetes object, and why.", ["kind", "reason"], registry=registry
        )
        self.cluster_errors = Counter(
            "clone_cluster_errors_total", "Watches that failed, by HTTP status.", ["kind", "code"], registry=registry
        )
        self.cluster_last_heard = Gauge(
            "clone_cluster_last_heard_timestamp_seconds", "When a watch last said anything.", ["kind"], registry=registry
        )
        self.watchers = Gauge("clone_watchers", "Open WatchJob streams.", registry=registry)
        self.grpc_calls = Counter(
            "clone_grpc_calls_total", "Calls answered, by method and code.", ["method", "code"], registry=registry
        )
        self.grpc_seconds = Histogram(
            "clone_grpc_duration_seconds", "From a call's arrival to its answer.", ["method"], registry=registry,
            buckets=_CALL_SECONDS,
        )  # fmt: skip


def serve(registry: CollectorRegistry, address: str) -> Callable[[], None]:
    """Answer Prometheus on `host:port` from a thread; returns what stops it. Raises OSError when the port is taken."""
    host, _, port = address.rpartition(":")
    server, thread = start_http_server(int(port), host.strip("[]"), registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return stop
