"""Settings: defaults, derived values, and one clear line for each mistake."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from shared.settings import PostgresStore, SettingsError, SqliteStore, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()


def test_the_defaults_are_those_of_a_machine_with_nothing_set() -> None:
    settings = load_settings({})
    assert settings.store == SqliteStore(Path("var/tendril.db"))
    assert (settings.gateway_port, settings.tracker_port, settings.inbound_smtp_port) == (8000, 8001, 8025)
    assert (settings.telemetry_port, settings.partitions, settings.mongo_driver) == (9100, 16, "motor")
    assert settings.amqp_url is settings.mongo_url is settings.otlp_endpoint is None
    assert settings.smtp_address == "smtp://127.0.0.1:1025"
    assert settings.tracking_url == "http://127.0.0.1:8001"
    assert settings.database_prefix == "tendril"


def test_everything_can_be_set_and_is_read_from_the_environment_given() -> None:
    settings = load_settings(
        {
            "TENDRIL_AMQP_URL": "amqps://u:p@broker:5671/v",
            "TENDRIL_MONGO_URL": "mongodb://a:27017,b:27018/shop?replicaSet=r",
            "TENDRIL_EVENT_STORE": "postgresql://u:p@db/tendril",
            "TENDRIL_PUBLIC_URL": "https://t.example.com/",
            "TENDRIL_SECRET_KEYS": "newest-newest-newest, oldest-oldest-oldest",
            "TENDRIL_MASTER_KEY": KEY,
            "TENDRIL_SMTP_URL": "smtp://u:p@mail:587?starttls=true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
        }
    )
    assert settings.store == PostgresStore("postgresql://u:p@db/tendril")
    assert settings.database_prefix == "shop"
    assert settings.tracking_url == "https://t.example.com"
    assert settings.secret_key_list == ["newest-newest-newest", "oldest-oldest-oldest"]
    assert settings.master_key_bytes == bytes(range(32))
    assert settings.otlp_endpoint == "http://collector:4318"
    assert KEY not in repr(settings)


def test_overrides_win_and_empty_variables_count_as_not_set() -> None:
    settings = load_settings({"TENDRIL_HOME": "/data", "TENDRIL_GATEWAY_PORT": " "}, home=Path("/other"))
    assert settings.home == Path("/other")
    assert settings.gateway_port == 8000


def test_a_sqlite_path_may_be_relative_or_absolute() -> None:
    assert load_settings({"TENDRIL_EVENT_STORE": "sqlite:///a/b.db"}).store == SqliteStore(Path("a/b.db"))
    assert load_settings({"TENDRIL_EVENT_STORE": "sqlite:////a/b.db"}).store == SqliteStore(Path("/a/b.db"))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("TENDRIL_AMQP_URL", "http://broker", "'http://broker'"),
        ("TENDRIL_AMQP_URL", "amqp://u:hunter2@broker:port", "'amqp://u:***@broker:port'"),
        ("TENDRIL_MONGO_URL", "localhost:27017", "'localhost:27017'"),
        ("TENDRIL_EVENT_STORE", "mysql://x/y", "'mysql://x/y'"),
        ("TENDRIL_EVENT_STORE", "sqlite:///", "'sqlite:///'"),
        ("TENDRIL_GATEWAY_PORT", "70000", "'70000'"),
        ("TENDRIL_TRACKER_PORT", "eight", "'eight'"),
        ("TENDRIL_PARTITIONS", "0", "'0'"),
        ("TENDRIL_PUBLIC_URL", "example.com", "'example.com'"),
        ("TENDRIL_MONGO_DRIVER", "mongoose", "'mongoose'"),
        ("TENDRIL_LOG_FORMAT", "xml", "'xml'"),
        ("TENDRIL_ADMIN_EMAIL", "nobody", "'nobody'"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "'collector'"),
        ("TENDRIL_SMTP_URL", "http://hunter2", "not shown"),
        ("TENDRIL_SECRET_KEYS", "hunter2", "not shown"),
        ("TENDRIL_MASTER_KEY", "hunter2!", "not shown"),
        ("TENDRIL_MASTER_KEY", base64.b64encode(b"hunter2").decode(), "not shown"),
        ("TENDRIL_ADMIN_PASSWORD", "hunter2", "not shown"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_expected(name: str, value: str, shown: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    line = str(caught.value)
    assert line.startswith(f"{name} is wrong: got ")
    assert shown in line
    assert ", expected " in line
    assert "\n" not in line
    assert "hunter2" not in line


def test_what_is_needed_and_missing_is_named() -> None:
    settings = load_settings({})
    for name, ask in (
        ("AMQP_URL", settings.require_amqp_url),
        ("MONGO_URL", settings.require_mongo_url),
        ("MASTER_KEY", lambda: settings.master_key_bytes),
        ("SECRET_KEYS", lambda: settings.secret_key_list),
        ("ADMIN_PASSWORD", lambda: load_settings({"TENDRIL_ADMIN_EMAIL": "a@example.com"})),
    ):
        with pytest.raises(SettingsError, match=f"^TENDRIL_{name} is not set: expected "):
            ask()
