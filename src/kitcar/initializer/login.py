"""Which registry to log in to, and how: the storage container's contract as a function of settings and reference.

First match wins: `KIT_USER` with `KIT_PASSWORD`; AWS ECR through the service account's role; Google Artifact Registry
through workload identity; else the credentials that Docker configurations hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kitcar.errors import InvalidError
from kitcar.oci.reference import Reference

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9][a-z0-9-]*)\."
    r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)"
    r"|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
_GOOGLE = re.compile(r"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)")
_ECR_USER = "AWS"
_GOOGLE_USER = "oauth2accesstoken"


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What the environment says about logging in; empty texts are variables that are not set."""

    user: str = ""
    password: str = field(default="", repr=False)
    role_arn: str = ""
    workload_identity: bool = False
    gar_location: str = ""


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """Name and password from the environment, for the reference's own registry."""

    registry: str
    user: str
    password: str = field(repr=False)

    @property
    def line(self) -> str:
        """What is printed."""
        return f"Logging in using repo url: {self.registry}"


@dataclass(frozen=True, slots=True)
class EcrLogin:
    """A token of AWS ECR in `region`, with whatever credentials the AWS chain finds."""

    registry: str
    region: str
    user: str = _ECR_USER

    @property
    def line(self) -> str:
        """What is printed."""
        return f"Logging into AWS ECR {self.registry}"


@dataclass(frozen=True, slots=True)
class GarLogin:
    """An access token of Google Cloud, for an Artifact Registry host."""

    registry: str
    location: str
    user: str = _GOOGLE_USER

    @property
    def line(self) -> str:
        """What is printed."""
        return f"Logging into GCP Artifact Registry in location {self.location}"


@dataclass(frozen=True, slots=True)
class NoLogin:
    """No login of its own; `reason` says why one that was set up is passed over, or is empty."""

    reason: str = ""


RealLogin = PasswordLogin | EcrLogin | GarLogin
Login = RealLogin | NoLogin


def choose(settings: LoginSettings, reference: Reference) -> Login:
    """The login for one reference.

    An ECR login takes account, region and partition from the reference's own host, so that registries of other accounts
    and partitions work; for any other host it would be of no use and is passed over.

    Raises:
        InvalidError: workload identity is on and the location is missing.
    """
    host = reference.registry
    if settings.user and settings.password:
        return PasswordLogin(host, settings.user, settings.password)
    if settings.user or settings.password:
        missing = "KIT_PASSWORD" if settings.user else "KIT_USER"
        return NoLogin(f"Not logging in: {missing} is not set")
    if settings.role_arn:
        return _ecr(host)
    if settings.workload_identity:
        return _google(settings, host)
    return NoLogin()


def _ecr(host: str) -> Login:
    found = _ECR.fullmatch(host)
    if not found:
        return NoLogin(f"Not logging into AWS ECR: {host} is not an ECR registry")
    return EcrLogin(host, found["region"])


def _google(settings: LoginSettings, host: str) -> Login:
    if not settings.gar_location:
        raise InvalidError("GCP_GAR_LOCATION env should be set and indicate the location of the GAR repository")
    if not _GOOGLE.fullmatch(host):
        return NoLogin(f"Not logging into GCP Artifact Registry: {host} is not one")
    return GarLogin(host, settings.gar_location)
