"""Rotary position embedding of queries and keys."""

from .op import rope

__all__ = ["rope"]
