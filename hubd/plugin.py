"""All that a plugin may use of hubd. What isn't here may change at any time."""

from pydantic import Field, SecretStr

from hubd.broker import Broker, OnPublication, Published
from hubd.clock import Clock, SystemClock
from hubd.config_base import ChannelPattern, ListOf, Seconds, raise_at
from hubd.core.channel import Patterns
from hubd.core.connection import ConnectionInfo
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey, Identity, identity_of
from hubd.core.notification import Notification, Persistence, Priority
from hubd.core.presence import State
from hubd.core.publish import Draft
from hubd.core.users import Snapshot, UserSet, snapshot_of
from hubd.core.verdict import Action, Verdict, Way, digest, drop, hold
from hubd.edge.credentials import Credentials
from hubd.edge.http import answer as json_answer
from hubd.edge.http import read_body
from hubd.edge.plugin_routes import Routes
from hubd.egress import Answer, Egress, EgressFailed, EgressRefused, check_url
from hubd.egress_guard import allowed_host
from hubd.faults import PluginError
from hubd.hooks.catalog import PluginConfig
from hubd.hooks.handle import PluginHub, PluginLog
from hubd.hooks.push import Address, Device, Limits, Outcome, Push, PushBackend, PushResult, Rate
from hubd.hooks.specs import hookimpl
from hubd.memory import Receipt

__all__ = [
    "Action",
    "Address",
    "Answer",
    "ApiKey",
    "Broker",
    "ChannelPattern",
    "Clock",
    "ConnectionInfo",
    "Credentials",
    "Device",
    "Draft",
    "Egress",
    "EgressFailed",
    "EgressRefused",
    "Field",
    "FieldError",
    "Identity",
    "Limits",
    "ListOf",
    "Notification",
    "OnPublication",
    "Outcome",
    "Patterns",
    "Persistence",
    "PluginConfig",
    "PluginError",
    "PluginHub",
    "PluginLog",
    "Priority",
    "Problem",
    "Published",
    "Push",
    "PushBackend",
    "PushResult",
    "Rate",
    "Receipt",
    "Routes",
    "Seconds",
    "SecretStr",
    "Snapshot",
    "State",
    "SystemClock",
    "UserSet",
    "Verdict",
    "Way",
    "allowed_host",
    "check_url",
    "digest",
    "drop",
    "hold",
    "hookimpl",
    "identity_of",
    "invalid",
    "json_answer",
    "raise_at",
    "read_body",
    "snapshot_of",
]
