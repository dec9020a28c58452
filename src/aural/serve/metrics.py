"""Count and time the requests of one server for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        fragments = "Fragments of the library's table; compacting merges them."
        self.fragments = Gauge("aural_library_fragments", fragments, registry=self.registry)
        indexes = "Indexes of the library's table, filters included."
        self.indexes = Gauge("aural_library_indexes", indexes, registry=self.registry)
        unindexed = "Windows that the approximate index does not contain, or all if there is none."
        self.unindexed = Gauge("aural_library_unindexed_windows", unindexed, registry=self.registry)
        readable = "1 if the table and its indexes can be read, else 0."
        self.readable = Gauge("aural_library_readable", readable, registry=self.registry)

    def show_library(self, stats: Mapping[str, Any]) -> None:
        """Set the gauges of the library from `LanceStore.stats`."""
        self.fragments.set(stats["fragments"])
        self.indexes.set(stats["indexes"])
        self.unindexed.set(stats["rows"] if stats["index"] is None else stats["unindexed_rows"])
        self.readable.set(1)
