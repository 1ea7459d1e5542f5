#!/bin/sh
# Starts Redis for the services alone, in compose and Kubernetes alike. Its one user may run exactly the commands that
# they need, on keys that begin with "fashion:". The password comes from a file, so that no list of processes shows it.
# Further users, such as one for backups, come from a file beside it, in the form of Redis's ACL.
set -eu
secret=${SECRET_DIR:-/etc/fashion/redis}
tls=${TLS_DIR:-/etc/fashion/tls}
data=${DATA_DIR:-/data}
umask 077

hash=$(tr -d '\r\n' < "$secret/password" | sha256sum | cut -d ' ' -f 1)
{
  echo "user default off resetpass resetkeys resetchannels -@all"
  echo "user fashion on #$hash ~fashion:* resetchannels -@all +bgrewriteaof +del +exec +hdel +hget +hgetall +hset +info +multi +ping"
  [ ! -f "$secret/users" ] || cat "$secret/users"
} > "$data/users.acl"

# Three quarters of the container's memory: Redis refuses writes before the kernel kills it, and forgets no dislike for
# room.
set -- --maxmemory "${MAX_MEMORY:-192mb}" --maxmemory-policy noeviction "$@"
# An acknowledged dislike is kept: every write reaches the disk before its answer. Without the default user, nobody needs
# the mode that lets only this machine in.
set -- --dir "$data" --aclfile "$data/users.acl" --appendonly yes --appendfsync always --protected-mode no "$@"
# A snapshot would hold erased users. Where there is an append-only file, Redis reads none.
set -- --save "" "$@"
[ ! -e "$data/appendonlydir" ] || rm -f "$data/dump.rdb"
if [ -f "$tls/tls.crt" ]; then
  set -- --port 0 --tls-port 6379 --tls-cert-file "$tls/tls.crt" --tls-key-file "$tls/tls.key" \
    --tls-ca-cert-file "$tls/ca.crt" --tls-auth-clients optional "$@"
fi
exec redis-server "$@"
