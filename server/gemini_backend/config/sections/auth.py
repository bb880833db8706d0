"""Who may call: methods of authentication, and what is made of each credential."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from gemini_backend.config.about import DAY_SECONDS, Options, about
from gemini_backend.config.errors import ConfigError
from gemini_backend.config.master_key import master_key_bytes
from gemini_backend.config.network import Listen
from gemini_backend.config.secret import Secret  # noqa: TC001 - msgspec reads the annotations

_MAX_ENTRIES = 1000
_TENANT = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
_PRINCIPAL = r"^([A-Za-z0-9][A-Za-z0-9_.@-]{0,63})?\Z"

RoleName = Literal["caller", "viewer", "operator", "admin"]
DefaultRole = Literal["", RoleName]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class JwtOptions(Options, frozen=True):
    """JSON Web Tokens of one issuer."""

    issuer: Annotated[str, about("Required value of the claim `iss`.")] = ""
    audiences: Annotated[
        tuple[str, ...], about("Accepted values of the claim `aud`; a token must have one of them.")
    ] = ()
    jwks_url: Annotated[
        str, about("`https` address of the issuer's public keys (JWKS); empty for `jwks_file`.")
    ] = ""
    jwks_file: Annotated[
        str, about("File with the issuer's public keys (JWKS); read again at least every 5 s.")
    ] = ""
    jwks_ca_file: Annotated[
        str,
        about(
            "PEM file with the certificates of the authorities to trust for `jwks_url` instead of "
            "the system's; empty for the system's."
        ),
    ] = ""
    algorithms: Annotated[
        tuple[Algorithm, ...], about("Accepted signature algorithms; all are asymmetric.")
    ] = ("RS256", "ES256", "EdDSA")
    leeway_seconds: Annotated[
        float, about("Tolerated difference between the clocks of issuer and server.", ge=0, le=600)
    ] = 30.0
    jwks_refresh_seconds: Annotated[
        float, about("Interval at which the public keys are fetched again.", ge=10, le=DAY_SECONDS)
    ] = 300.0
    unknown_key_seconds: Annotated[
        float,
        about(
            "Minimum time between two fetches that tokens with an unknown `kid` cause.",
            ge=1,
            le=DAY_SECONDS,
        ),
    ] = 10.0
    tenant_claim: Annotated[
        str,
        about(
            "Claim with the tenant; dots lead into nested objects, for the other claims as well. "
            "Empty: the tenant of all tokens is `default`."
        ),
    ] = "tenant"
    name_claim: Annotated[
        str,
        about(
            "Claim with the name of the principal; characters that names must not have are "
            "replaced, and a digest is added."
        ),
    ] = "sub"
    roles_claim: Annotated[
        str,
        about(
            "Claim with the roles: a list of texts, or one text separated by spaces. Words that "
            "are not roles are ignored."
        ),
    ] = "roles"
    models_claim: Annotated[
        str,
        about(
            "Claim with the allowed models; tokens without it are refused. Empty: all models are "
            "allowed."
        ),
    ] = ""
    default_role: Annotated[
        DefaultRole,
        about("Role of tokens that name none; empty to refuse them."),
    ] = "caller"

    def _check(self) -> None:
        """Refuse two sources of keys, an address that is not safe, and no algorithm at all.

        Raises:
            ConfigError: it is so.
        """
        if self.jwks_url and self.jwks_file:
            msg = "auth.jwt.jwks_url and auth.jwt.jwks_file are both set; remove one of them"
            raise ConfigError.at(msg, "auth.jwt.jwks_url")
        if self.jwks_url and not _safe(self.jwks_url):
            msg = (
                "auth.jwt.jwks_url must be like https://HOST/PATH, without user or password; http "
                "is allowed for loopback addresses only"
            )
            raise ConfigError.at(msg, "auth.jwt.jwks_url")
        if not self.algorithms:
            msg = "auth.jwt.algorithms is empty; name the algorithms of the issuer, such as RS256"
            raise ConfigError.at(msg, "auth.jwt.algorithms")
        for name in ("name_claim", "roles_claim"):
            if not getattr(self, name):
                msg = f"auth.jwt.{name} is empty; name the claim"
                raise ConfigError.at(msg, f"auth.jwt.{name}")


def _safe(address: str) -> bool:
    """Say whether nobody on the way can put other keys in place of those at an address."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    bare = not (parts.username or parts.password or parts.fragment) and port != 0
    if not host or not bare or not address.isprintable() or " " in address:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and Listen(host, 0).loopback)


class CertificateOptions(Options, frozen=True):
    """The principal of one client certificate, or of several.

    Exactly one of `subject` (the whole one, as `CN=alice,O=Acme` in any order, or the common name
    alone) and `san` (an entry of the subject alternative names, such as `spiffe://acme/alice` or
    `alice.example.com`) selects it; both may have `*`, which stands for characters within one value
    of a subject, or for one part of a name: no `.` of a host, no `/` of a URI.
    """

    tenant: Annotated[str, msgspec.Meta(pattern=_TENANT)]
    subject: Annotated[str, msgspec.Meta(max_length=512)] = ""
    san: Annotated[str, msgspec.Meta(max_length=512)] = ""
    name: Annotated[str, msgspec.Meta(pattern=_PRINCIPAL)] = ""
    roles: tuple[RoleName, ...] = ("caller",)
    allowed_models: tuple[str, ...] = ()

    def _check(self) -> None:
        """Refuse an entry that selects by nothing, or by two things.

        Raises:
            ConfigError: it is so.
        """
        if bool(self.subject) == bool(self.san):
            msg = (
                "auth.mtls.principals: an entry must have exactly one of subject and san; name the "
                "certificate by one of them"
            )
            raise ConfigError.at(msg, "auth.mtls.principals")


class MtlsOptions(Options, frozen=True):
    """Client certificates, issued by `server.tls_client_ca_file`."""

    principals: Annotated[
        tuple[CertificateOptions, ...],
        about(
            "Tables with `subject` or `san`, `tenant`, `name`, `roles`, `allowed_models`; the "
            "first that fits is used; at most 1000.",
        ),
    ] = ()
    default_role: Annotated[
        DefaultRole,
        about(
            "Role of certificates that no entry of `principals` fits; each is a principal of its "
            "own: its tenant is the subject's organization or `default`, its name the first URI, "
            "e-mail address or host of its alternative names, or its common name. Empty to refuse "
            "them."
        ),
    ] = "caller"

    def _check(self) -> None:
        """Refuse more entries than allowed.

        Raises:
            ConfigError: there are.
        """
        if len(self.principals) > _MAX_ENTRIES:
            msg = (
                f"auth.mtls.principals has {len(self.principals)} entries and may have at most "
                f"{_MAX_ENTRIES}; use patterns with *"
            )
            raise ConfigError.at(msg, "auth.mtls.principals")


class AuthOptions(Options, frozen=True):
    """Authentication of callers; without any method everybody on this machine is an admin."""

    methods: Annotated[
        tuple[Literal["api_key", "jwt", "mtls"], ...],
        about(
            "Accepted methods: `api_key`, `jwt`, `mtls`. Empty: `mtls` if "
            "`server.tls_client_ca_file` is set; otherwise every caller is the anonymous admin, "
            "and the server listens on loopback only."
        ),
    ] = ()
    open: Annotated[
        tuple[Literal["health", "reflection", "metrics"], ...],
        about(
            "What needs no authentication: `health` (`grpc.health.v1`, and whether `/readyz` is "
            "ready), `reflection`, `metrics` (`/metrics`)."
        ),
    ] = ("health", "reflection")
    failure_delay_seconds: Annotated[
        float,
        about(
            "Delay of the answer to a failed authentication; doubles with each further failure of "
            "the same peer.",
            ge=0,
            le=60,
        ),
    ] = 0.1
    max_failure_delay_seconds: Annotated[
        float, about("Upper limit of that delay.", ge=0, le=60)
    ] = 5.0
    jwt: JwtOptions = JwtOptions()
    mtls: MtlsOptions = MtlsOptions()

    def _check(self) -> None:
        """Refuse a method that lacks what it needs.

        Raises:
            ConfigError: it does.
        """
        if "jwt" in self.methods:
            missing = [
                name
                for name, value in (
                    ("issuer", self.jwt.issuer),
                    ("audiences", self.jwt.audiences),
                    ("jwks_url or auth.jwt.jwks_file", self.jwt.jwks_url or self.jwt.jwks_file),
                )
                if not value
            ]
            if missing:
                msg = f"auth.methods has jwt and there is no auth.jwt.{missing[0]}; set it"
                raise ConfigError.at(msg, f"auth.jwt.{missing[0].split()[0]}")


class SecretsOptions(Options, frozen=True):
    """Encryption of what is kept secret on disk."""

    master_key: Annotated[
        tuple[Secret, ...],
        about(
            "Master keys, 32 bytes each in base64 or hexadecimal digits: the first encrypts, all "
            "decrypt. Default: those of `master_key_file`."
        ),
    ] = ()
    master_key_file: Annotated[
        str,
        about(
            "File with master keys, one per line; default `master.key` in `state.dir`, which is "
            "created with a random key. Read again by SIGHUP and RotateUpstreamKeyEncryption."
        ),
    ] = ""

    def _check(self) -> None:
        """Refuse a text that is no key, and two sources of keys.

        Raises:
            ConfigError: it is so.
        """
        if self.master_key and self.master_key_file:
            msg = "secrets.master_key and secrets.master_key_file are both set; remove one of them"
            raise ConfigError.at(msg, "secrets.master_key")
        for index, key in enumerate(self.master_key):
            try:
                master_key_bytes(key.reveal())
            except ValueError as error:
                msg = f"secrets.master_key[{index}] {error}"
                raise ConfigError.at(msg, "secrets.master_key") from None


class AuditOptions(Options, frozen=True):
    """The audit log: administrative acts, and refused authentication and access."""

    enabled: Annotated[bool, about("Enables the audit log.")] = True
    head_file: Annotated[
        str,
        about(
            "File with the expected length of the log; on another disk, or writable for fewer "
            "users, it is harder to replace together with the log. Default: `audit.head` in "
            "`state.dir`."
        ),
    ] = ""
    refusals_per_minute: Annotated[
        int,
        about(
            "Maximum number of entries per minute for refused authentication and access; the next "
            "entry counts those that were left out.",
            ge=1,
            le=10_000,
        ),
    ] = 60
