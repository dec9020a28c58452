"""Count and time the requests of one server for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The Prometheus metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter("aural_requests", "Requests answered.", names, registry=self.registry)
        duration = "Time until the end of the answer."
        self.seconds = Histogram("aural_request_seconds", duration, ("route",), registry=self.registry)
        self.batch = Histogram(
            "aural_batch_size",
            "Items per call of the model.",
            ("kind",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.active = Gauge("aural_requests_under_way", "Requests being answered.", registry=self.registry)
        self.decoders_ended = Gauge("aural_decoders_ended", "Decoders ended by a sound.", registry=self.registry)
        self.files = Gauge("aural_library_files", "Files in the library.", registry=self.registry)
