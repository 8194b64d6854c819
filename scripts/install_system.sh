#!/bin/sh
# Installs the system packages that are missing. Quick, and silent, when nothing is.
# usage: install_system.sh run|test
#   run   RabbitMQ, what the bundled mongod links to, Python's venv
#   test  the same, PostgreSQL's server and Chromium
# Only apt-get is used, and only by root; elsewhere it says what to install and fails.
set -eu

purpose="${1:?usage: install_system.sh run|test}"
packages=""

need() { # need PACKAGE TEST...: adds PACKAGE when TEST fails
    package="$1"
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

has() { command -v "$1"; }
has_any() { for name in "$@"; do command -v "$name" && return 0; done; return 1; }
has_rabbitmq() { has rabbitmq-server || [ -x /usr/sbin/rabbitmq-server ] || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; }
has_postgres() { has postgres || ls /usr/lib/postgresql/*/bin/postgres; }
has_curl_library() { has mongod || ls /usr/lib/*/libcurl.so.4 /lib/*/libcurl.so.4 2>/dev/null | grep -q .; }
has_venv() { python3 -c 'import ensurepip, venv'; }

need python3 has python3
need python3-venv has_venv
need rabbitmq-server has_rabbitmq
need libcurl4 has_curl_library
if [ "$purpose" = test ]; then
    need postgresql has_postgres
    need chromium has_any chromium chromium-browser google-chrome
fi

[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "Missing system packages (Debian's names):$packages" >&2
    echo "Install them, as root on Debian or Ubuntu: apt-get install$packages" >&2
    exit 1
fi

# Tendril starts private servers of its own. While this file says 101, no package starts one at its own installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi

echo "Installing system packages:$packages"
log="$(mktemp)"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # the list is split on purpose
if ! { apt-get update && apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    exit 1
fi
rm -f "$log"

# Nor shall they start at the next boot, where we were the ones who brought them.
if [ -d /run/systemd/system ]; then
    for service in rabbitmq-server postgresql; do
        case "$packages" in *"$service"*) systemctl disable --quiet "$service" || true ;; esac
    done
fi
