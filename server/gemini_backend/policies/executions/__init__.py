"""Executions by name: those under way, which can be stopped, and the outcomes of those before."""

from __future__ import annotations

from gemini_backend.policies.executions.register import UNLISTED, ExecutionRegister, RunsApart
from gemini_backend.policies.executions.remembered import Remembered
from gemini_backend.policies.executions.underway import Underway

__all__ = ["UNLISTED", "ExecutionRegister", "Remembered", "RunsApart", "Underway"]
