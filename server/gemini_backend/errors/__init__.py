"""Every way in which a call can fail.

ServiceError                     code                  reason                        retry helps
├─ CallerError                   the caller must change something
│  ├─ InvalidRequest             INVALID_ARGUMENT      CALLER_INVALID_REQUEST        no
│  ├─ MalformedMessage           INVALID_ARGUMENT      CALLER_MALFORMED_MESSAGE      no
│  ├─ MessageTooLarge            RESOURCE_EXHAUSTED    CALLER_MESSAGE_TOO_LARGE      no
│  ├─ TooManyParts               INVALID_ARGUMENT      CALLER_TOO_MANY_PARTS         no
│  ├─ UnknownModel               NOT_FOUND             CALLER_UNKNOWN_MODEL          no
│  ├─ UnknownResource            NOT_FOUND             CALLER_UNKNOWN_RESOURCE       no
│  ├─ DeadlineTooShort           DEADLINE_EXCEEDED     CALLER_DEADLINE_TOO_SHORT     no
│  ├─ RefusedByModelApi          INVALID_ARGUMENT      CALLER_REFUSED_BY_MODEL_API   no
│  ├─ UnsupportedByModel         INVALID_ARGUMENT      CALLER_UNSUPPORTED_BY_MODEL   no
│  ├─ ContextTooLong             INVALID_ARGUMENT      CALLER_CONTEXT_TOO_LONG       no
│  ├─ Unauthenticated            UNAUTHENTICATED       CALLER_UNAUTHENTICATED        no
│  ├─ Forbidden                  PERMISSION_DENIED     CALLER_FORBIDDEN              no
│  ├─ Conflict                   ABORTED               CALLER_CONFLICT               no
│  ├─ Cancelled                  CANCELLED             CALLER_CANCELLED              no
│  ├─ AlreadyExists              ALREADY_EXISTS        CALLER_ALREADY_EXISTS         no
│  └─ NeedsRestart               FAILED_PRECONDITION   CALLER_NEEDS_RESTART          no
├─ PolicyError                   one of our own rules
│  ├─ RateLimited                RESOURCE_EXHAUSTED    POLICY_RATE_LIMITED           yes
│  ├─ Overloaded                 RESOURCE_EXHAUSTED    POLICY_OVERLOADED             yes
│  ├─ CircuitOpen                UNAVAILABLE           POLICY_CIRCUIT_OPEN           yes
│  ├─ QuotaExhausted             RESOURCE_EXHAUSTED    POLICY_QUOTA_EXHAUSTED        yes
│  ├─ NotCached                  FAILED_PRECONDITION   POLICY_NOT_CACHED             no
│  ├─ SessionFull                RESOURCE_EXHAUSTED    POLICY_SESSION_FULL           no
│  └─ ChaosFault                 UNAVAILABLE           POLICY_CHAOS                  yes
├─ UpstreamError                 the model API, or the way to it
│  ├─ Unreachable                UNAVAILABLE           UPSTREAM_UNREACHABLE          yes
│  ├─ UpstreamUnavailable        UNAVAILABLE           UPSTREAM_UNAVAILABLE          yes
│  ├─ OutOfQuota                 a quota of the key's project is spent
│  │  ├─ Throttled               RESOURCE_EXHAUSTED    UPSTREAM_THROTTLED            yes
│  │  └─ DailyQuotaExhausted     RESOURCE_EXHAUSTED    UPSTREAM_QUOTA_EXHAUSTED      no
│  ├─ KeyRefused                 FAILED_PRECONDITION   UPSTREAM_KEY_REFUSED          no
│  ├─ ProjectRefused             FAILED_PRECONDITION   UPSTREAM_PROJECT_REFUSED      no
│  ├─ AccountLimited             FAILED_PRECONDITION   UPSTREAM_ACCOUNT_LIMITED      no
│  ├─ ConnectTimeout             DEADLINE_EXCEEDED     UPSTREAM_CONNECT_TIMEOUT      yes
│  ├─ FirstTokenTimeout          DEADLINE_EXCEEDED     UPSTREAM_FIRST_TOKEN_TIMEOUT  yes
│  ├─ IdleTimeout                DEADLINE_EXCEEDED     UPSTREAM_IDLE_TIMEOUT         yes
│  ├─ DeadlinePassed             DEADLINE_EXCEEDED     UPSTREAM_DEADLINE_EXCEEDED    no
│  ├─ StreamCut                  UNAVAILABLE           UPSTREAM_STREAM_CUT           yes
│  ├─ MalformedAnswer            INTERNAL              UPSTREAM_MALFORMED_ANSWER     yes
│  ├─ AnswerTooLarge             RESOURCE_EXHAUSTED    UPSTREAM_ANSWER_TOO_LARGE     no
│  ├─ PromptBlocked              FAILED_PRECONDITION   UPSTREAM_PROMPT_BLOCKED       no
│  ├─ AnswerBlocked              FAILED_PRECONDITION   UPSTREAM_ANSWER_BLOCKED       no
│  ├─ EmptyAnswer                UNAVAILABLE           UPSTREAM_EMPTY_ANSWER         yes
│  ├─ UpstreamCancelled          CANCELLED             UPSTREAM_CANCELLED            yes
│  └─ UpstreamTimedOut           DEADLINE_EXCEEDED     UPSTREAM_TIMED_OUT            yes
└─ BackendError                  this server
   ├─ Unexpected                 INTERNAL              BACKEND_UNEXPECTED            no
   ├─ NotImplementedYet          UNIMPLEMENTED         BACKEND_NOT_IMPLEMENTED       no
   ├─ Draining                   UNAVAILABLE           BACKEND_DRAINING              yes
   ├─ StoreUnavailable           UNAVAILABLE           BACKEND_STORE_UNAVAILABLE     yes
   ├─ OutOfDescriptors           UNAVAILABLE           BACKEND_OUT_OF_DESCRIPTORS    yes
   └─ NoUpstreamKey              FAILED_PRECONDITION   BACKEND_NO_UPSTREAM_KEY       no

The message of each says what to do about it. Messages never hold a key, a prompt or an answer.
A leaf's reason is a value of `gemini.backend.v1.ErrorReason`, whose comments say the same.
"""

from __future__ import annotations

from gemini_backend.errors.backend import *
from gemini_backend.errors.base import Code as Code
from gemini_backend.errors.base import QuotaViolation as QuotaViolation
from gemini_backend.errors.base import ServiceError as ServiceError
from gemini_backend.errors.base import UpstreamReply as UpstreamReply
from gemini_backend.errors.base import Violation as Violation
from gemini_backend.errors.caller import *
from gemini_backend.errors.masked import masked as masked
from gemini_backend.errors.policy import *
from gemini_backend.errors.upstream import *
