"""Settings, read once from the environment and checked before anything starts."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "TENDRIL_"
OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
DEFAULT_DATABASE = "tendril"
DEFAULT_SMTP_URL = "smtp://127.0.0.1:1025"
MASTER_KEY_BYTES = 32
MIN_SECRET_KEY_LENGTH = 16  #: below this a token's key could be guessed

Port = int


class SettingsError(Exception):
    """A setting is wrong or missing. The text is one line: its name, its value (no secret's) and what is expected."""


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """The event store is this file."""

    path: Path


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """The event store is a PostgreSQL database; `dsn` may hold a password."""

    dsn: str


EventStoreAddress = SqliteStore | PostgresStore


class Settings(BaseSettings):
    """All that can be set. Every name is an environment variable with the prefix `TENDRIL_`, but for one."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    amqp_url: str | None = Field(None, description="amqp://user:password@host:port/vhost or amqps://…")
    mongo_url: str | None = Field(None, description="mongodb://host:port/database or mongodb+srv://…")
    event_store: str | None = Field(None, description="sqlite:///path or postgresql://…")
    home: Path = Field(Path("var"), description="a folder")
    host: str = Field("127.0.0.1", min_length=1, description="the address that servers listen on, 0.0.0.0 for all")
    gateway_port: Port = Field(8000, ge=1, le=65535, description="a port, 1 to 65535")
    tracker_port: Port = Field(8001, ge=1, le=65535, description="a port, 1 to 65535")
    inbound_smtp_port: Port = Field(8025, ge=1, le=65535, description="a port, 1 to 65535")
    telemetry_port: Port = Field(9100, ge=1, le=65535, description="a port, 1 to 65535")
    public_url: str | None = Field(None, description="http://… or https://…, the base of tracking links")
    secret_keys: SecretStr | None = Field(
        None, description=f"a comma list of keys of at least {MIN_SECRET_KEY_LENGTH} characters, newest first"
    )
    master_key: SecretStr | None = Field(None, description="32 bytes in base64")
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:port or smtps://…")
    allow_private_webhooks: bool = Field(
        False, description="true or false; true lets webhooks call loopback and private addresses"
    )
    inbound_domain: str = Field("localhost", min_length=1, max_length=253, description="a domain name")
    admin_email: str | None = Field(None, description="an e-mail address")
    admin_password: SecretStr | None = Field(None, description="a password of at least 8 characters")
    partitions: int = Field(16, ge=1, le=256, description="a number, 1 to 256, fixed when the store is made")
    mongo_driver: Literal["motor", "pymongo"] = Field("motor", description="motor or pymongo")
    log_format: Literal["console", "json"] = Field("console", description="console or json")
    otlp_endpoint: str | None = Field(
        None, validation_alias=AliasChoices(OTLP_ENDPOINT, "otlp_endpoint"), description="http://… or https://…"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` hands over: it has read the environment itself."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("amqp_url")
    @classmethod
    def _amqp(cls, value: str | None) -> str | None:
        return _with_scheme(value, "amqp", "amqps")

    @field_validator("mongo_url")
    @classmethod
    def _mongo(cls, value: str | None) -> str | None:
        return _with_scheme(value, "mongodb", "mongodb+srv")

    @field_validator("public_url", "otlp_endpoint")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        value = _with_scheme(value, "http", "https")
        return value.rstrip("/") if value else value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _with_scheme(value.get_secret_value(), "smtp", "smtps")
        return value

    @field_validator("event_store")
    @classmethod
    def _event_store(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.startswith("sqlite:///"):
            if not value.removeprefix("sqlite:///"):
                raise ValueError("names no file")
            return value
        return _with_scheme(value, "postgresql", "postgres")

    @field_validator("master_key")
    @classmethod
    def _master_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(_decoded(value.get_secret_value())) != MASTER_KEY_BYTES:
            raise ValueError("is not 32 bytes")
        return value

    @field_validator("secret_keys")
    @classmethod
    def _secret_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            keys = _split(value.get_secret_value())
            if not keys or any(len(key) < MIN_SECRET_KEY_LENGTH for key in keys):
                raise ValueError("has a key that is too short")
        return value

    @field_validator("admin_email")
    @classmethod
    def _admin_email(cls, value: str | None) -> str | None:
        if value is not None and (value.count("@") != 1 or value.startswith("@") or value.endswith("@")):
            raise ValueError("is not an address")
        return value

    @field_validator("admin_password")
    @classmethod
    def _admin_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 8:
            raise ValueError("is too short")
        return value

    @model_validator(mode="after")
    def _admin_is_whole(self) -> Self:
        if self.admin_email and not self.admin_password:
            raise SettingsError(f"{PREFIX}ADMIN_PASSWORD is not set: expected with {PREFIX}ADMIN_EMAIL")
        return self

    @property
    def store(self) -> EventStoreAddress:
        """Where the events are; `HOME/tendril.db` when nothing is set."""
        if self.event_store is None:
            return SqliteStore(self.home / "tendril.db")
        if self.event_store.startswith("sqlite:///"):
            return SqliteStore(Path(self.event_store.removeprefix("sqlite:///")))
        return PostgresStore(self.event_store)

    @property
    def master_key_bytes(self) -> bytes:
        """The 32 bytes that wrap the leads' keys. Raises SettingsError when the key is not set."""
        if self.master_key is None:
            raise _missing("master_key")
        return _decoded(self.master_key.get_secret_value())

    @property
    def secret_key_list(self) -> list[str]:
        """The keys that sign tokens, newest first, never empty. Raises SettingsError when they are not set."""
        if self.secret_keys is None:
            raise _missing("secret_keys")
        return _split(self.secret_keys.get_secret_value())

    @property
    def tracking_url(self) -> str:
        """Base of tracking links, without a slash at the end; the tracker's own address without `PUBLIC_URL`."""
        return self.public_url or f"http://127.0.0.1:{self.tracker_port}"

    @property
    def smtp_address(self) -> str:
        """Where mail is handed over; the demo mailbox when `SMTP_URL` is not set. May hold a password."""
        return self.smtp_url.get_secret_value() if self.smtp_url else DEFAULT_SMTP_URL

    @property
    def database_prefix(self) -> str:
        """What the names of the MongoDB databases begin with: the path of `MONGO_URL`, else `tendril`."""
        path = urlsplit(self.mongo_url).path.strip("/") if self.mongo_url else ""
        return unquote(path) or DEFAULT_DATABASE

    def require_amqp_url(self) -> str:
        """The broker's address. Raises SettingsError when it is not set."""
        if self.amqp_url is None:
            raise _missing("amqp_url")
        return self.amqp_url

    def require_mongo_url(self) -> str:
        """MongoDB's address. Raises SettingsError when it is not set."""
        if self.mongo_url is None:
            raise _missing("mongo_url")
        return self.mongo_url


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from `environ` (default: the process's own); `overrides`, by field name, win.

    An empty variable counts as not set. Raises SettingsError at the first setting that is wrong.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {
        name: environ[variable_of(name)] for name in Settings.model_fields if environ.get(variable_of(name), "").strip()
    }
    values |= overrides
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0]) if first["loc"] else ""
        name = "otlp_endpoint" if place == OTLP_ENDPOINT else place
        raise SettingsError(_complaint(name, first["input"])) from None


def variable_of(name: str) -> str:
    """The environment variable of a field."""
    return OTLP_ENDPOINT if name == "otlp_endpoint" else PREFIX + name.upper()


def _complaint(name: str, value: object) -> str:
    field = Settings.model_fields[name]
    secret = "SecretStr" in str(field.annotation)
    shown = "its value (not shown)" if secret else _without_password(str(value))
    return f"{variable_of(name)} is wrong: got {shown}, expected {field.description}"


def _missing(name: str) -> SettingsError:
    return SettingsError(f"{variable_of(name)} is not set: expected {Settings.model_fields[name].description}")


def _with_scheme(value: str | None, *schemes: str) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError("is no such address")
    if parts.scheme.startswith("mongodb"):
        return value  # several hosts may be named, so the port is none
    if parts.port == 0:  # reading it raises ValueError when it is no number
        raise ValueError("names port 0")
    return value


def _without_password(value: str) -> str:
    """The value with the password of an address, and anything that looks like one, blotted out; on one line."""
    head, at, tail = value.rpartition("@")
    if at and "://" in head:
        scheme, _, login = head.partition("://")
        user = login.partition(":")[0]
        value = f"{scheme}://{user}:***@{tail}"
    return repr(value)


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error


def _split(value: str) -> list[str]:
    return [key for key in (part.strip() for part in value.split(",")) if key]
