"""Six readers that convert downloads in their published folder layout to items, as configured by dataset cards."""

from aural.data.readers import csv_tables, folder, jsonl
from aural.data.readers.base import Event, Item, Reader
from aural.data.readers.registry import READERS

__all__ = ["READERS", "Event", "Item", "Reader", "csv_tables", "folder", "jsonl"]
