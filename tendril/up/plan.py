"""What `up` is to start, and with which settings; all of it is decided before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.settings import DEFAULT_SMTP_URL, Settings, load_settings, variable_of
from tendril.embedded.ports import LOOPBACK, is_free
from tendril.running import SERVICES
from tendril.up.secret_file import Secrets, keep_secrets

DEMO_HOME = Path("var/demo")
DEMO_ADMIN = "admin@demo.example"
DEMO_DOMAIN = "in.demo.example"
DEMO_SPEED = 1440.0
MAILBOX_PORT = int(DEFAULT_SMTP_URL.rpartition(":")[2])  #: unless another one is asked for


class PortTaken(Exception):
    """Something else listens on a port that is needed. One line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``environ`` is what every process gets; ``speed`` None means real time;
    ``mailbox_port`` None that mail goes to a server of one's own."""

    home: Path
    demo: bool
    speed: float | None
    settings: Settings
    secrets: Secrets
    environ: Mapping[str, str]
    mailbox_port: int | None

    @property
    def own_mailbox(self) -> bool:
        """Whether `up` takes the mail itself: no mail server was named."""
        return self.mailbox_port is not None

    @property
    def gateway_url(self) -> str:
        """Of the dashboard."""
        return f"http://127.0.0.1:{self.settings.gateway_port}"

    @property
    def tracker_url(self) -> str:
        """Of the tracker itself, whatever the public address is."""
        return f"http://127.0.0.1:{self.settings.tracker_port}"


def make_plan(
    *,
    demo: bool,
    speed: float | None,
    mailbox_port: int = MAILBOX_PORT,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """Reads the settings and makes the secrets of a new home. Raises SettingsError, SecretsUnreadable."""
    given = dict(os.environ if environ is None else environ)
    if demo:
        _default(given, "TENDRIL_HOME", str(DEMO_HOME))
        _default(given, "TENDRIL_INBOUND_DOMAIN", DEMO_DOMAIN)
    home = load_settings({name: value for name, value in given.items() if name == "TENDRIL_HOME"}).home.resolve()
    secrets = keep_secrets(home)
    given["TENDRIL_HOME"] = str(home)
    _default(given, "TENDRIL_MASTER_KEY", secrets.master_key)
    _default(given, "TENDRIL_SECRET_KEYS", secrets.secret_keys)
    if demo:
        _default(given, "TENDRIL_ADMIN_EMAIL", DEMO_ADMIN)
    if given.get("TENDRIL_ADMIN_EMAIL", "").strip():
        _default(given, "TENDRIL_ADMIN_PASSWORD", secrets.admin_password)
    _default(given, "TENDRIL_LOG_FORMAT", "json")
    own_mailbox = not given.get("TENDRIL_SMTP_URL", "").strip()
    if own_mailbox:
        given["TENDRIL_SMTP_URL"] = f"smtp://{LOOPBACK}:{mailbox_port}"
    given["PYTHONUNBUFFERED"] = "1"
    settings = load_settings(given)
    return Plan(
        home=home,
        demo=demo,
        speed=speed if speed is not None else DEMO_SPEED if demo else None,
        settings=settings,
        secrets=secrets,
        environ=given,
        mailbox_port=mailbox_port if own_mailbox else None,
    )


def _default(environ: dict[str, str], name: str, value: str) -> None:
    if not environ.get(name, "").strip():
        environ[name] = value


def check_ports(plan: Plan) -> None:
    """Raises PortTaken when two are the same or another program has one."""
    seen: dict[int, str] = {}
    for port, name in _ports(plan).items():
        if not is_free(port):
            raise PortTaken(f"port {port} is in use by another program: end it, or set {name} to another")
    for name in ("gateway_port", "tracker_port", "inbound_smtp_port"):
        port = getattr(plan.settings, name)
        if port in seen:
            raise PortTaken(f"{variable_of(name)} and {seen[port]} are both {port}: give each a port of its own")
        seen[port] = variable_of(name)


def telemetry_ports(plan: Plan) -> dict[str, int]:
    """For each service the next free port from ``TELEMETRY_PORT`` on."""
    ports: dict[str, int] = {}
    taken = _ports(plan)
    port = plan.settings.telemetry_port
    for service in SERVICES:
        while port in taken or not is_free(port):
            port += 1
        ports[service] = port
        port += 1
    return ports


def _ports(plan: Plan) -> dict[int, str]:
    """Every port that is listened on, with the name of what sets it."""
    names = ("gateway_port", "tracker_port", "inbound_smtp_port")
    ports = {int(getattr(plan.settings, name)): variable_of(name) for name in names}
    return ports if plan.mailbox_port is None else {**ports, plan.mailbox_port: "--mailbox-port"}
