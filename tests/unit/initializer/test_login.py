"""Which registry is logged in to, and how: the first of the contract's ways that is set up."""

from __future__ import annotations

import pytest

from kitcar.errors import InvalidError
from kitcar.initializer.login import EcrLogin, GarLogin, LoginSettings, NoLogin, PasswordLogin, choose
from kitcar.oci.reference import Reference

ROLE = "arn:aws:iam::111111111111:role/reader"


def reference(host: str) -> Reference:
    return Reference.parse(f"{host}/team/iris:v1")


def test_choose_name_and_password_win_over_everything() -> None:
    settings = LoginSettings("ada", "secret", ROLE, workload_identity=True, gar_location="europe")
    login = choose(settings, reference("123456789012.dkr.ecr.eu-west-1.amazonaws.com"))
    assert login == PasswordLogin("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "ada", "secret")
    assert login.line == "Logging in using repo url: 123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(("user", "password", "missing"), [("ada", "", "KIT_PASSWORD"), ("", "secret", "KIT_USER")])
def test_choose_half_a_credential_logs_in_nowhere(user: str, password: str, missing: str) -> None:
    login = choose(LoginSettings(user, password, ROLE), reference("ghcr.io"))
    assert login == NoLogin(f"Not logging in: {missing} is not set")


def test_choose_nothing_set_up_logs_in_nowhere() -> None:
    assert choose(LoginSettings(), reference("ghcr.io")) == NoLogin()


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("222222222222.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1"),
        ("222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("222222222222.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("222222222222.dkr-ecr.us-east-2.on.aws", "us-east-2"),
        ("222222222222.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn", "cn-northwest-1"),
        ("222222222222.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ],
)
def test_choose_role_takes_account_region_and_partition_from_the_host(host: str, region: str) -> None:
    login = choose(LoginSettings(role_arn=ROLE), reference(host))
    assert login == EcrLogin(host, region)
    assert login.line == f"Logging into AWS ECR {host}"
    assert login.user == "AWS"


@pytest.mark.parametrize(
    "host",
    [
        "ghcr.io",
        "public.ecr.aws",
        "22222222222.dkr.ecr.eu-west-1.amazonaws.com",
        "222222222222.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "222222222222.dkr.ecr.eu-west-1.amazonaws.com:5000",
        "x222222222222.dkr.ecr.eu-west-1.amazonaws.com",
    ],
)
def test_choose_role_for_a_host_that_is_no_ecr_is_passed_over(host: str) -> None:
    login = choose(LoginSettings(role_arn=ROLE), reference(host))
    assert login == NoLogin(f"Not logging into AWS ECR: {host} is not an ECR registry")


@pytest.mark.parametrize("host", ["europe-west3-docker.pkg.dev", "europe-docker.pkg.dev", "gcr.io", "eu.gcr.io"])
def test_choose_workload_identity_logs_in_to_googles_registries(host: str) -> None:
    login = choose(LoginSettings(workload_identity=True, gar_location="europe-west3"), reference(host))
    assert login == GarLogin(host, "europe-west3")
    assert login.line == "Logging into GCP Artifact Registry in location europe-west3"
    assert login.user == "oauth2accesstoken"


@pytest.mark.parametrize("host", ["ghcr.io", "europe-docker.pkg.dev.evil.example", "evilgcr.io"])
def test_choose_workload_identity_gives_other_hosts_no_token(host: str) -> None:
    login = choose(LoginSettings(workload_identity=True, gar_location="europe"), reference(host))
    assert login == NoLogin(f"Not logging into GCP Artifact Registry: {host} is not one")


def test_choose_workload_identity_without_location_is_invalid() -> None:
    with pytest.raises(
        InvalidError, match=r"^GCP_GAR_LOCATION env should be set and indicate the location of the GAR repo"
    ):
        choose(LoginSettings(workload_identity=True), reference("europe-docker.pkg.dev"))


def test_logins_never_show_the_password() -> None:
    assert "secret" not in repr(LoginSettings("ada", "secret"))
    assert "secret" not in repr(choose(LoginSettings("ada", "secret"), reference("ghcr.io")))
