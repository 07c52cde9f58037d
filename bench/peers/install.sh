#!/bin/sh
# Installs what the benchmarks compare hubd with: packages of Debian where that is possible, and of npm into the folder
# that is the argument. What was installed is started by the benchmarks themselves, so no service is left running.
set -eu

packages=""

# need PROGRAM PACKAGE
need() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null || packages="$packages $2"
}

need cc "gcc libc6-dev"
need node nodejs
need npm npm
need nginx nginx-light
need nats-server nats-server
need mosquitto mosquitto
test -e /usr/lib/nginx/modules/ngx_nchan_module.so || packages="$packages libnginx-mod-nchan"

without_services() {
    policy=/usr/sbin/policy-rc.d # what Debian asks before it starts anything
    if ! test -e $policy; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    "$@"
    if command -v systemctl >/dev/null; then
        for service in nginx nats-server mosquitto; do
            case "$packages " in *" $service"[-\ ]*) systemctl disable --quiet $service 2>/dev/null || true ;; esac
        done
    fi
}

if test -n "$packages"; then
    if test "$(id -u)" != 0 || ! command -v apt-get >/dev/null; then
        echo "The benchmarks need more. On Debian: sudo apt-get install -y --no-install-recommends$packages" >&2
        echo "(and then: sudo systemctl disable --now nginx nats-server mosquitto; those missing are left out)" >&2
        missing=1
    else
        export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
        echo "Installing$packages for the benchmarks"
        apt-get update -qq
        # shellcheck disable=SC2086
        without_services apt-get install -y -qq --no-install-recommends $packages >/dev/null
    fi
fi
if command -v npm >/dev/null; then
    mkdir -p "$1"
    npm install --prefix "$1" --silent --no-audit --no-fund ws@8 socket.io@4
fi
exit ${missing:-0}
