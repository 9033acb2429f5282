"""A token of AWS ECR through the credentials the AWS chain finds: a pod's role (IRSA), pod identity, variables, the node.

The only importer of botocore, which reads its own variables (`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_REGION`,
`AWS_ENDPOINT_URL_STS`, …) as every AWS client does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kitcar.errors import AuthError, TransportError, UnsupportedError
from kitcar.initializer.login import EcrLogin
from kitcar.registry.credentials import Credential

_PASSING = frozenset(("RequestTimeout", "Throttling", "ThrottlingException", "ServerException", "ServiceUnavailable"))


def ecr_credential(login: EcrLogin) -> Credential:
    """Asks ECR in the registry's own region for a token; it is good for every registry the caller may read from.

    Raises:
        UnsupportedError: botocore is not installed.
        AuthError: there are no credentials, or AWS refused them.
        TransportError: AWS did not answer.
    """
    with _mapped(login):
        import botocore.session

        session = botocore.session.Session()
        client = session.create_client("ecr", region_name=login.region)
        answer = client.get_authorization_token()
    return _credential(answer, login)


def _credential(answer: Any, login: EcrLogin) -> Credential:
    try:
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    except (KeyError, IndexError, TypeError, ValueError):
        raise TransportError(f"AWS ECR in {login.region} gave no token", transient=False) from None
    user, _, password = token.partition(":")
    return Credential(user, password)


@contextmanager
def _mapped(login: EcrLogin) -> Iterator[None]:
    """Turns botocore's errors into ours.

    Raises:
        UnsupportedError, AuthError, TransportError: see `ecr_credential`.
    """
    try:
        import botocore.exceptions as aws
    except ImportError:
        hint = "install kitcar[aws], or give KIT_USER and KIT_PASSWORD"
        raise UnsupportedError("logging in to AWS ECR needs botocore", hint=hint) from None
    where = f"logging in to {login.registry}"
    try:
        yield
    except aws.ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code, transient = told.get("Code", ""), status >= 500 or told.get("Code") in _PASSING
        raise AuthError(
            f"{where}: AWS answered {code}: {told.get('Message', '')}",
            status=status,
            code=code,
            hint="check the role's trust policy and its permission for ecr:GetAuthorizationToken",
            transient=transient,
        ) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.InvalidConfigError) as error:
        hint = "annotate the service account with its role (eks.amazonaws.com/role-arn)"
        raise AuthError(f"{where}: {error}", status=401, hint=hint) from error
    except (aws.HTTPClientError, aws.ConnectionError) as error:
        raise TransportError(f"{where}: AWS did not answer: {error}") from error
    except (aws.BotoCoreError, OSError, ValueError) as error:
        hint = "check AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE and the region"
        raise AuthError(f"{where}: {error}", status=401, hint=hint) from error
