#!/bin/sh
# Installs certctl as a systemd service on Linux, upgrades it in place, or removes it.
# Plain POSIX sh; needs coreutils and, for --url, curl or wget. `install.sh --help` explains the options.
set -eu
umask 022

usage() {
  cat <<'USAGE'
Usage: install.sh server|agent (--url BASE | --binary FILE) [options]
       install.sh server|agent --uninstall [--purge]

  server               control plane: runs as the system user certctl, data in /var/lib/certctl
  agent                pull agent: runs as root (it writes key files and reloads services), data in /var/lib/certctl-agent

  --url BASE           download BASE/certctl-<os>-<arch>; the checksum BASE/certctl-<os>-<arch>.sha256 must match
  --binary FILE        install this file; FILE.sha256 is verified when it exists
  --checksum FILE      verify against this checksum file instead
  --server URL         agent: address of the server
  --join-token TOKEN   agent: enrol with this token; `-` reads it from standard input. Other users of the host see the
                       arguments of a running command: the variable CERTCTL_JOIN_TOKEN does the same unseen.
  --no-start           neither enable nor start the service
  --root DIR           install below DIR (an image or chroot): no user is created and no service started; a sysusers.d
                       file creates the user at the first boot
  --uninstall          stop the service, remove its unit and, with the last role, the program; keeps settings and data
  --purge              with --uninstall: remove settings, data and the system user as well

Running it again with a newer file upgrades: the program is replaced in one step and the one before stays beside it as
certctl.previous, which returns if the new one does not start. Settings in /etc/certctl are never overwritten.
USAGE
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
on_host() { [ -z "$root" ]; }
has_systemd() { on_host && [ -d /run/systemd/system ] && have systemctl; }

parse_arguments() {
  role='' url='' binary='' checksum='' server='' token=${CERTCTL_JOIN_TOKEN:-} root='' action=install purge=no start=yes
  unset CERTCTL_JOIN_TOKEN
  while [ $# -gt 0 ]; do
    case $1 in
      server | agent) [ -z "$role" ] || fail "one role at a time"; role=$1 ;;
      --url | --binary | --checksum | --server | --join-token | --root)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
          --url) url=${2%/} ;;
          --binary) binary=$2 ;;
          --checksum) checksum=$2 ;;
          --server) server=$2 ;;
          --join-token) if [ "$2" = - ]; then IFS= read -r token || true; else token=$2; fi ;;
          --root) root=${2%/} ; [ -d "$2" ] || fail "--root: $2 is no folder" ;;
        esac
        shift ;;
      --uninstall) action=uninstall ;;
      --purge) purge=yes ;;
      --no-start) start=no ;;
      -h | --help) usage; exit 0 ;;
      *) fail "unknown argument $1 (see --help)" ;;
    esac
    shift
  done
  [ -n "$role" ] || { usage >&2; exit 2; }
  case $root in '' | /*) ;; *) root=$(cd "$root" && pwd) ;; esac
  [ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
  if [ "$action" = install ]; then
    [ -n "$url$binary" ] || fail "say where the program comes from: --url BASE or --binary FILE"
    [ -z "$url" ] || [ -z "$binary" ] || fail "--url and --binary exclude each other"
    if [ "$role" = agent ]; then
      [ -z "$token" ] || [ -n "$server" ] || fail "a join token needs --server URL"
    elif [ -n "$server$token" ]; then
      fail "--server and --join-token belong to the agent"
    fi
  fi
}

set_paths() {
  bin=$root/usr/local/bin/certctl
  etc=$root/etc/certctl
  env_file=$etc/$role.env
  unit_name=certctl-$role.service
  unit=$root/etc/systemd/system/$unit_name
  sysusers=$root/usr/lib/sysusers.d/certctl.conf
  # Each role has its own folder: the server's account must not be able to touch what the agent, as root, believes.
  case $role in
    server) data=/var/lib/certctl ;;
    agent) data=/var/lib/certctl-agent ;;
  esac
}

# --- where the program comes from -------------------------------------------------------------------------------------

platform() {
  [ "$(uname -s)" = Linux ] || fail "this script sets up systemd services on Linux; elsewhere put the program on the PATH and run \`certctl $role\`"
  case $(uname -m) in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "certctl is not built for $(uname -m)" ;;
  esac
  libc=''
  for loader in "$root"/lib/ld-musl-*; do [ -e "$loader" ] && libc=-musl; done
  printf 'linux-%s%s' "$arch" "$libc"
}

download() {
  case $1 in
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) ;;
    *) fail "refusing to download from $1: https:// only" ;;
  esac
  if have curl; then
    curl --fail --silent --show-error --location --proto-redir =https --output "$2" "$1"
  elif have wget; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "neither curl nor wget is installed"
  fi || fail "cannot download $1"
}

sha256_of() {
  if have sha256sum; then
    sha256sum "$1"
  elif have openssl; then
    openssl dgst -sha256 -r "$1"
  else
    fail "neither sha256sum nor openssl is installed"
  fi | cut -d ' ' -f 1
}

verify_checksum() {
  wanted=$(tr -d '\r' <"$2" | cut -d ' ' -f 1 | head -n 1)
  case $wanted in *[!0-9a-fA-F]* | '') fail "$2 holds no SHA-256 checksum" ;; esac
  found=$(sha256_of "$1")
  [ "$(printf '%s' "$wanted" | tr A-F a-f)" = "$found" ] ||
    fail "checksum mismatch: expected $wanted, found $found; nothing was changed"
}

# Leaves the verified program in $work/certctl.
obtain_program() {
  if [ -n "$url" ]; then
    name=certctl-$(platform)
    say "downloading $url/$name"
    download "$url/$name" "$work/certctl"
    if [ -z "$checksum" ]; then
      download "$url/$name.sha256" "$work/certctl.sha256"
      checksum=$work/certctl.sha256
    fi
  else
    [ -f "$binary" ] || fail "$binary does not exist"
    cp "$binary" "$work/certctl"
    [ -n "$checksum" ] || [ ! -f "$binary.sha256" ] || checksum=$binary.sha256
  fi
  if [ -n "$checksum" ]; then
    [ -f "$checksum" ] || fail "the checksum file $checksum does not exist"
    verify_checksum "$work/certctl" "$checksum"
  else
    say "no checksum file beside $binary: installing it unverified"
  fi
  chmod 0755 "$work/certctl"
}

# --- installing -------------------------------------------------------------------------------------------------------

# A rename within one folder: there is always a whole program at the path, and a running one keeps its file.
place_program() {
  replaced=no
  mkdir -p "$root/usr/local/bin"
  if [ -f "$bin" ] && [ "$(sha256_of "$bin")" = "$(sha256_of "$work/certctl")" ]; then
    say "the program is already this version"
    return
  fi
  cp "$work/certctl" "$bin.new"
  chmod 0755 "$bin.new"
  if on_host && ! "$bin.new" --help >/dev/null 2>&1; then
    rm -f "$bin.new"
    fail "the program does not run on this host; nothing was changed"
  fi
  if [ -f "$bin" ]; then
    ln -f "$bin" "$bin.previous"
    replaced=yes
  fi
  mv -f "$bin.new" "$bin"
}

create_user() {
  if ! on_host; then
    mkdir -p "${sysusers%/*}"
    printf 'u certctl - "certctl server" /var/lib/certctl\n' >"$sysusers"
    return
  fi
  if ! id certctl >/dev/null 2>&1; then
    if have useradd; then
      useradd --system --user-group --no-create-home --home-dir /var/lib/certctl --shell /usr/sbin/nologin certctl
    else
      addgroup -S certctl
      adduser -S -D -H -h /var/lib/certctl -s /sbin/nologin -G certctl certctl
    fi
  fi
}

own() { if on_host; then chown "$@"; fi; }

create_folders() {
  mkdir -p "$etc" "$root/etc/systemd/system"
  if [ ! -d "$etc/secrets" ]; then
    mkdir -m 0750 "$etc/secrets"
  fi
  if [ ! -d "$root$data" ]; then
    mkdir -p "${root}/var/lib"
    mkdir -m 0700 "$root$data"
  fi
  if [ "$role" = server ]; then
    own certctl:certctl "$data"
    own root:certctl "$etc/secrets"
  fi
}

# write_new MODE FILE: standard input becomes FILE unless it exists.
write_new() {
  if [ -e "$2" ]; then
    cat >/dev/null
    return
  fi
  (umask 077 && cat >"$2.new")
  chmod "$1" "$2.new"
  mv "$2.new" "$2"
}

write_settings() {
  if [ "$role" = server ]; then
    write_new 0640 "$env_file" <<'SETTINGS'
# Settings of `certctl server`, one NAME=value per line; docs/configuration.md lists them all.
# Nothing needs to be set: HTTPS with a CA of its own, SQLite in /var/lib/certctl, on the loopback address.

# Listen on every address:
#CERTCTL_SERVER_HOST=0.0.0.0
#CERTCTL_SERVER_PORT=8443

# The address people and agents use; links and join commands are made from it.
#CERTCTL_PUBLIC_URL=https://certctl.example.com:8443

# PostgreSQL instead of SQLite; several servers may share it and then need one encryption key:
#CERTCTL_DATABASE_URL=postgres://certctl:password@db.example.com/certctl
#CERTCTL_CONFIG_ENCRYPTION_KEY=
SETTINGS
    own root:certctl "$env_file"
  else
    write_new 0600 "$env_file" <<'SETTINGS'
# Settings of `certctl agent`, one NAME=value per line; docs/configuration.md lists them all.
# Joining (certctl agent join) stores server, identity and key in the data folder; what is set here wins.

#CERTCTL_AGENT_NAME=
#CERTCTL_DISCOVERY_DIRS=/etc/ssl,/etc/nginx
# Only these programs may validate and reload services; empty allows any:
#CERTCTL_AGENT_ALLOWED_COMMANDS=nginx,systemctl
SETTINGS
  fi
}

hardening() {
  cat <<'UNIT'
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0077
UNIT
}

server_unit() {
  cat <<'UNIT'
# Written by install.sh and replaced by every upgrade: put changes into `systemctl edit certctl-server`.
[Unit]
Description=certctl server
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=/usr/local/bin/certctl server
User=certctl
Group=certctl
StateDirectory=certctl
StateDirectoryMode=0700
Environment=CERTCTL_DATA_DIR=/var/lib/certctl
EnvironmentFile=-/etc/certctl/server.env
Restart=on-failure
RestartSec=5s
# Loops and answers under way get 30 s each.
TimeoutStopSec=75s
# Every waiting agent and open console page holds a connection.
LimitNOFILE=65536
# A port below 1024 needs a drop-in with AmbientCapabilities= and CapabilityBoundingSet=CAP_NET_BIND_SERVICE.
CapabilityBoundingSet=
PrivateDevices=yes
UNIT
  hardening
  printf '\n[Install]\nWantedBy=multi-user.target\n'
}

agent_unit() {
  cat <<'UNIT'
# Written by install.sh and replaced by every upgrade: put changes into `systemctl edit certctl-agent`.
[Unit]
Description=certctl agent
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=/usr/local/bin/certctl agent
Environment=CERTCTL_DATA_DIR=/var/lib/certctl-agent
EnvironmentFile=-/etc/certctl/agent.env
# A retired agent exits with 0 and stays down.
Restart=on-failure
RestartSec=5s
TimeoutStopSec=45s
LimitNOFILE=65536
StateDirectory=certctl-agent
StateDirectoryMode=0700
# The folders certificates are written to. A service that keeps them elsewhere needs a drop-in:
#   [Service]
#   ReadWritePaths=/opt/app/tls
ReadWritePaths=-/etc/ssl -/etc/pki -/etc/nginx -/etc/apache2 -/etc/httpd -/etc/haproxy -/etc/caddy -/etc/traefik
ReadWritePaths=-/etc/postfix -/etc/dovecot
# What the services' own configuration checks open for writing (`nginx -t`: its logs and its pid file).
ReadWritePaths=-/var/log/nginx -/var/lib/nginx -/var/log/apache2 -/var/log/httpd -/run
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_PTRACE CAP_SYS_BOOT CAP_SYS_TIME CAP_BPF CAP_MAC_ADMIN
UNIT
  hardening
  printf '\n[Install]\nWantedBy=multi-user.target\n'
}

write_unit() {
  "${role}_unit" >"$unit.new"
  chmod 0644 "$unit.new"
  mv -f "$unit.new" "$unit"
}

join_agent() {
  joined=no
  if [ -f "$root$data/agent.json" ]; then
    joined=yes
    [ -z "$token" ] || say "this host has joined already: keeping $data/agent.json"
  elif [ -n "$token" ]; then
    CERTCTL_JOIN_TOKEN=$token CERTCTL_DATA_DIR=$root$data "$bin" agent join --server "$server" ||
      fail "joining $server failed; the program and its unit are in place, join later with the same command"
    joined=yes
  fi
}

put_previous_back() {
  [ "$replaced" = yes ] || return 0
  mv -f "$bin.previous" "$bin"
  systemctl restart "$unit_name" || true
  say "the previous version is running again"
}

start_service() {
  has_systemd || return 0
  systemctl daemon-reload
  [ "$start" = yes ] || return 0
  systemctl enable --quiet "$unit_name"
  if [ "$role" = agent ] && [ "$joined" = no ]; then return 0; fi
  if ! systemctl restart "$unit_name" || ! stays_up; then
    journalctl --unit "$unit_name" --lines 20 --no-pager >&2 || true
    put_previous_back
    fail "$unit_name does not start"
  fi
}

# A program that refuses its settings exits within a second or two.
stays_up() {
  seconds=0
  while [ "$seconds" -lt 5 ]; do
    sleep 1
    systemctl is-active --quiet "$unit_name" || return 1
    seconds=$((seconds + 1))
  done
}

next_steps() {
  say ''
  if [ "$replaced" = yes ]; then say "certctl was upgraded; the version before is $bin.previous"; else say "certctl is installed as $bin"; fi
  if ! has_systemd; then say "no service was started: there is no running systemd${root:+ below --root}"; fi
  if [ "$role" = server ]; then
    say "  settings   /etc/certctl/server.env, then: systemctl restart certctl-server"
    say "  console    https://localhost:8443"
    say "  first key  $data/initial-admin-key (readable by root and certctl only)"
    say "  log        journalctl -u certctl-server"
  else
    if [ "$joined" = no ]; then
      say "  join       CERTCTL_JOIN_TOKEN=… CERTCTL_DATA_DIR=$data certctl agent join --server ${server:-URL}"
      say "             then: systemctl start certctl-agent"
    fi
    say "  settings   /etc/certctl/agent.env, then: systemctl restart certctl-agent"
    say "  log        journalctl -u certctl-agent"
  fi
}

install_role() {
  obtain_program
  place_program
  if [ "$role" = server ]; then create_user; fi
  create_folders
  write_settings
  write_unit
  joined=no
  if [ "$role" = agent ]; then join_agent; fi
  start_service
  next_steps
}

# --- removing ---------------------------------------------------------------------------------------------------------

uninstall_role() {
  if has_systemd && [ -f "$unit" ]; then systemctl disable --quiet --now "$unit_name" || true; fi
  rm -f "$unit"
  if has_systemd; then systemctl daemon-reload; fi
  other=agent
  [ "$role" = server ] || other=server
  if [ ! -f "$root/etc/systemd/system/certctl-$other.service" ]; then rm -f "$bin" "$bin.previous"; fi
  if [ "$purge" = no ]; then
    say "removed; settings stay in /etc/certctl and data in $data (--purge removes them)"
    return
  fi
  rm -rf "${root}${data:?}" "$env_file" "$root/etc/systemd/system/$unit_name.d"
  if [ "$role" = server ]; then
    rm -f "$sysusers"
    if on_host && id certctl >/dev/null 2>&1; then
      if have userdel; then userdel certctl; else deluser certctl; fi
    fi
  fi
  if [ ! -e "$etc/server.env" ] && [ ! -e "$etc/agent.env" ]; then rm -rf "${etc:?}"; fi
  say "removed with its settings and data"
}

main() {
  parse_arguments "$@"
  set_paths
  if on_host && [ "$(id -u)" != 0 ]; then fail "run it as root"; fi
  if [ "$action" = uninstall ]; then
    uninstall_role
    return
  fi
  work=$(mktemp -d)
  trap 'rm -rf "$work"; rm -f "$bin.new"' EXIT
  trap 'exit 1' HUP INT TERM
  install_role
}

main "$@"
