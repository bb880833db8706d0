"""The whole tree."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import Options, about
from gemini_backend.config.sections.answers import CacheOptions, CoalesceOptions, JournalOptions
from gemini_backend.config.sections.auth import AuditOptions, AuthOptions, SecretsOptions
from gemini_backend.config.sections.embed import EmbedOptions, SemanticCacheOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.extension import ChaosOptions, InterceptorOptions
from gemini_backend.config.sections.flow import AdmissionOptions, QuotaOptions, RateLimitOptions
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.config.sections.operation import (
    LoggingOptions,
    RevisionsOptions,
    StateOptions,
    TracingOptions,
)
from gemini_backend.config.sections.resilience import (
    BreakerOptions,
    FallbackOptions,
    HedgeOptions,
    RetryOptions,
)
from gemini_backend.config.sections.server import ServerOptions
from gemini_backend.config.sections.sessions import SessionsOptions
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.config.sections.upstream import UpstreamOptions
from gemini_backend.config.sections.web import WebOptions


class Config(Options, frozen=True):
    """Everything that can be set, one section a feature."""

    server: ServerOptions = ServerOptions()
    web: WebOptions = WebOptions()
    auth: AuthOptions = AuthOptions()
    secrets: SecretsOptions = SecretsOptions()
    audit: AuditOptions = AuditOptions()
    upstream: UpstreamOptions = UpstreamOptions()
    execution: ExecutionOptions = ExecutionOptions()
    embed: EmbedOptions = EmbedOptions()
    semantic_cache: SemanticCacheOptions = SemanticCacheOptions()
    models: ModelsOptions = ModelsOptions()
    tokens: TokensOptions = TokensOptions()
    journal: JournalOptions = JournalOptions()
    cache: CacheOptions = CacheOptions()
    coalesce: CoalesceOptions = CoalesceOptions()
    fallback: FallbackOptions = FallbackOptions()
    hedge: HedgeOptions = HedgeOptions()
    retry: RetryOptions = RetryOptions()
    breaker: BreakerOptions = BreakerOptions()
    quota: QuotaOptions = QuotaOptions()
    rate_limit: RateLimitOptions = RateLimitOptions()
    admission: AdmissionOptions = AdmissionOptions()
    sessions: SessionsOptions = SessionsOptions()
    state: StateOptions = StateOptions()
    revisions: RevisionsOptions = RevisionsOptions()
    logging: LoggingOptions = LoggingOptions()
    tracing: TracingOptions = TracingOptions()
    chaos: ChaosOptions = ChaosOptions()
    interceptors: Annotated[
        tuple[InterceptorOptions, ...],
        about(
            "Custom layers of the operator: tables with `name`, `before` or `after` a layer, "
            "`options`."
        ),
    ] = ()

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The methods of authentication in force; empty where everybody is the anonymous admin."""
        return self.auth.methods or (("mtls",) if self.server.tls_client_ca_file else ())
