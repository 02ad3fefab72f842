#!/bin/sh
# Postgres for the gateway: its database and roles, made once, and the passwords of today at every start.
#
# Two roles come by the network, over SCRAM: `litellm_owner` changes the schema, `litellm` uses what is there. Passwords
# are set while nobody else is connected (single-user mode), through standard input: another password in the Secret is
# the password after the next start, and none is ever in an argument, in a file or in the log.
#
# PGDATA holds everything, and is there whole or not at all. SOCKETS is the folder of the socket, by which only this
# pod reaches the superuser: who can, can read the files as well. PGPORT is the port, ADDRESS what it listens on,
# CONNECTIONS how many it takes. LIBRARIES is where libnss_wrapper.so is looked for, /usr/lib of itself.
#
# Exit status: that of the server; 2 where another start would not help.
set -eu
umask 077

refuse() {
  echo "start_postgres: $1" >&2
  exit 2
}

for password in "$OWNER_PASSWORD" "$SERVING_PASSWORD"; do
  case $password in
    '' | *[!A-Za-z0-9._~-]*) refuse 'a password may have letters, digits and - . _ ~ only, because it stands in a URL' ;;
  esac
done

# Postgres asks for the name of its user. One of a namespace's own range has none in the image, which brings a library
# that gives it one.
if ! id -un >/dev/null 2>&1; then
  library=$(find "${LIBRARIES:-/usr/lib}" -name libnss_wrapper.so 2>/dev/null | head -n 1)
  [ -n "$library" ] || refuse "user $(id -u) has no name here, and libnss_wrapper.so, which would give it one, is not here"
  echo "postgres:x:$(id -u):$(id -g)::$SOCKETS:/bin/false" >"$SOCKETS/passwd"
  echo "postgres:x:$(id -g):" >"$SOCKETS/group"
  export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD="$SOCKETS/passwd" NSS_WRAPPER_GROUP="$SOCKETS/group"
fi

# alone FOLDER DATABASE: runs the commands on its input, a line each, as the superuser; the first that fails ends it
alone() {
  postgres --single -D "$1" -c exit_on_error=on -c log_min_error_statement=panic "$2" >/dev/null
}

if [ ! -e "$PGDATA" ]; then
  fresh="$PGDATA.new"
  rm -rf "$fresh"
  initdb --pgdata="$fresh" --username=postgres --auth=reject --encoding=UTF8 --no-locale --data-checksums
  alone "$fresh" postgres <<'EOF'
CREATE ROLE litellm_owner LOGIN
CREATE ROLE litellm LOGIN
CREATE DATABASE litellm OWNER litellm_owner
EOF
  alone "$fresh" litellm <<'EOF'
ALTER SCHEMA public OWNER TO litellm_owner
REVOKE ALL ON SCHEMA public FROM PUBLIC
GRANT USAGE ON SCHEMA public TO litellm
ALTER DEFAULT PRIVILEGES FOR ROLE litellm_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO litellm
ALTER DEFAULT PRIVILEGES FOR ROLE litellm_owner IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO litellm
EOF
  mv "$fresh" "$PGDATA"
fi

made=$(cat "$PGDATA/PG_VERSION") || refuse "the data in $PGDATA are not whole, and nothing is made over them"
server=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
if [ "$made" != "$server" ]; then
  refuse "the data in $PGDATA are of Postgres $made, this is Postgres $server; docs/operations.md, Another major version"
fi

chmod 700 "$PGDATA"
printf '%s\n' 'local all postgres trust' 'host litellm litellm_owner,litellm all scram-sha-256' >"$PGDATA/pg_hba.conf"
alone "$PGDATA" postgres <<EOF
ALTER ROLE litellm_owner PASSWORD '$OWNER_PASSWORD'
ALTER ROLE litellm PASSWORD '$SERVING_PASSWORD'
EOF
unset OWNER_PASSWORD SERVING_PASSWORD password

# told to end, it ends its connections and writes down what it holds; by SIGTERM it would wait for its clients to go
postgres -c listen_addresses="$ADDRESS" -c unix_socket_directories="$SOCKETS" -c max_connections="$CONNECTIONS" &
process=$!
trap 'kill -INT "$process"' TERM INT
status=0
while kill -0 "$process" 2>/dev/null; do
  status=0
  wait "$process" || status=$?
done
exit "$status"
