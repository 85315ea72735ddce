"""Where something lies: what kind it is, and what of it is never shown."""

from pathlib import Path

import pytest

from rsrl_ray.store.location import Location, redacted, sqlite_uri
from rsrl_ray.store.storage import artifact_place

SECRET = {
    "postgresql://paper:w0rd@host/db": "postgresql://***@host/db",
    "http://paper:w0rd@host:5000/x": "http://***@host:5000/x",
    "http://paper:w0@rd@host": "http://***@host",
    "postgresql://paper:w0/rd@host/db": "postgresql://***@host/db",
    "postgresql://u:12/ab@host/db": "postgresql://***@host/db",
    "mysql://host/db?user=x&pass=w0rd": "mysql://host/db?user=x&pass=***",
    "https://token@host": "https://***@host",
    "s3://b/x?access_key=w0&secret_key=rd&region=eu": "s3://b/x?access_key=***&secret_key=***&region=eu",
    "s3://b?SessionToken=w0rd": "s3://b?SessionToken=***",
    "mssql+pyodbc:///?odbc_connect=PWD%3Dw0rd": "mssql+pyodbc:///?odbc_connect=***",
    "postgresql://h/d?user=x&password=w0rd": "postgresql://h/d?user=x&password=***",
}
OPEN = (
    "s3://bucket/team@x/a",
    "http://host:5000/a@b",
    "sqlite:////a@b/c.db",
    "models:/paper@best",
    "/data/a@b://c",
    "C:/x",
)


@pytest.mark.parametrize("text", SECRET)
def test_no_user_password_or_key_is_shown(text: str) -> None:
    assert str(Location(text)) == repr(Location(text)) == f"{Location(text)}" == SECRET[text]
    assert redacted(f"cannot open {text} (no)") == f"cannot open {SECRET[text]} (no)"


@pytest.mark.parametrize("text", OPEN)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert str(Location(text)) == text


def test_kinds() -> None:
    assert Location("s3://b/x").is_uri and not Location("/data/x://y").is_uri and not Location("/a").is_uri
    assert Location("HTTPS://host").is_served and not Location("sqlite:///x.db").is_served
    assert Location("sqlite:////a/b%25.db?timeout=1").database == Path("/a/b%.db")
    assert [Location(uri).database for uri in ("sqlite://", "sqlite:///:memory:", "s3://b", "/a")] == [None] * 4


@pytest.mark.parametrize("name", ["50%25", "a b", "ä", "a#b?c;d", "a\nb", "a&b:c@d", "{x}[x]", "~x"])
def test_the_uri_of_a_database_leads_back_to_its_file(name: str) -> None:
    assert Location(sqlite_uri(Path("/data", name, "mlflow.db"))).database == Path("/data", name, "mlflow.db")
    assert sqlite_uri(Path("/data/a b/mlflow.db")) == "sqlite:////data/a b/mlflow.db"


def test_the_artifacts_of_a_bucket_are_named_without_options_and_keys() -> None:
    assert artifact_place("s3://key:secret@b/x/?region=eu") == "s3://b/x/artifacts"
    assert artifact_place("/data/50%25 #") == "file:///data/50%2525%20%23/artifacts"
