"""E-mail addresses: equivalent spellings belong to one user; deceptive spellings are refused."""

import httpx
import pytest

EMAIL = "ada@firm.example.com"
PASSWORD = "correct horse battery"  # noqa: S105 - made up


async def invite(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/v1/users", json={"email": email, "name": "Ada", "role": "viewer"})


@pytest.mark.parametrize(
    "same",
    [
        "ADA@firm.example.com",
        "ada@FIRM.Example.COM",
        "  ada@firm.example.com ",
        "\uff41da@firm.example.com",
        "ada@\uff46irm.example.com",
        "ada@firm.example\u3002com",
        "\U0001d41ada@firm.example.com",
    ],
)
async def test_equivalent_spelling_belongs_to_the_same_user(
    client: httpx.AsyncClient, same: str
) -> None:
    made = await invite(client, EMAIL)
    accepted = {"token": made.json()["invitation_token"], "password": PASSWORD}
    await client.post("/v1/auth/invitations/accept", json=accepted)

    again = await invite(client, same)
    signed_in = await client.post("/v1/auth/token", data={"username": same, "password": PASSWORD})

    assert (again.status_code, again.json()["code"]) == (409, "user_exists")
    assert signed_in.status_code == 200


@pytest.mark.parametrize(
    "trick",
    [
        "\u0430da@firm.example.com",
        "ad\u00e1@firm.example.com",
        "a\u200bda@firm.example.com",
        "ada\u202e@firm.example.com",
        "ada@fi\u200drm.example.com",
        "ada@firm.example.com\u202c",
        "ada\u0000@firm.example.com",
        "ada@firm.example.com\r\nBcc: all@firm.example.com",
        "Boss <ada@firm.example.com>",
        '"ada"@firm.example.com',
        "ada@[127.0.0.1]",
        "ada@localhost",
        "ada@firm.example.com, eve@firm.example.com",
        "a" * 65 + "@firm.example.com",
        "ada@" + "a." * 130 + "com",
        "@firm.example.com",
        "ada",
    ],
)
async def test_invalid_address_is_refused(client: httpx.AsyncClient, trick: str) -> None:
    answer = await invite(client, trick)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/email"


async def test_domain_with_foreign_letters_is_shown_as_punycode(client: httpx.AsyncClient) -> None:
    """Prove that a domain with a Cyrillic letter is shown in a form that looks different.

    Otherwise such a domain could look like the company's own domain.
    """
    answer = await invite(client, "ada@f\u0456rm.example.com")

    assert answer.status_code == 201
    assert answer.json()["email"] == "ada@xn--frm-jhd.example.com"


@pytest.mark.parametrize(
    "trick", ["a\u200bda@example.com", "ada\u202e@example.com", "ada\u0000@example.com"]
)
async def test_contact_address_with_hidden_characters_is_refused(
    client: httpx.AsyncClient, trick: str
) -> None:
    answer = await client.post("/v1/contacts", json={"phone": "6175550142", "email": trick})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/email"
