"""A refusal that does not say whose fault it is, until the key has been tried apart."""

from __future__ import annotations

from gemini_backend.errors import (
    ProjectRefused,
    RefusedByModelApi,
    ServiceError,
    UnknownResource,
)


class UnexplainedRefusal(ProjectRefused):
    """The key's project may be refused, or what this one request asks for.

    It does not leave the attempt: there it becomes what a trial of the key shows.
    """

    def of_key(self, shown: ServiceError) -> ServiceError:
        """Return the failure of a key that was refused in its trial as well, as `shown`."""
        return self._as(type(shown) if type(shown) is not type(self) else ProjectRefused, "")

    def of_request(self, *, names_resource: bool) -> ServiceError:
        """Return the failure of a request that is refused with a key that is not."""
        if names_resource:
            return self._as(
                UnknownResource,
                "; the key itself is valid: check the names of the files, caches, stores and "
                "models in the request, and that they belong to the project of a configured key",
            )
        return self._as(RefusedByModelApi, "; the key itself is valid: change the request")

    def _as(self, kind: type[ServiceError], advice: str) -> ServiceError:
        error = kind(
            f"{self.message}{advice}",
            retry_after=self.retry_after,
            violations=self.violations,
            quota=self.quota,
            links=self.links,
            upstream=self.upstream,
            metadata=self.metadata,
        )
        error.failure = self.failure
        return error
