#!/bin/sh
# Tries the gateway for real: starts the backend and nginx in front of a Rollcall that runs on port 8000, and asks
# with a good token, an ended one, none, and forged headers.
#
#   LOGIN=… PASSWORD=… sh try.sh
set -eu
cd "$(dirname "$0")"
: "${LOGIN:?a login id}" "${PASSWORD:?its password}"
rollcall=http://127.0.0.1:8000 gateway=http://127.0.0.1:8080

place=$(mktemp -d)
cp nginx.conf "$place" && mkdir "$place/temp"
python3 backend.py & backend=$!
nginx -p "$place" -c nginx.conf -g 'daemon off;' & nginx=$!
trap 'kill $backend $nginx; wait; rm -rf "$place"' EXIT
sleep 1

check() {
    [ "$2" = "$3" ] && echo "ok    $1: $3" || { echo "WRONG $1: $3, not $2"; exit 1; }
}
status() {
    curl --silent --output /dev/null --write-out '%{http_code}' "$@" "$gateway/"
}

token=$(curl --silent --fail --json "{\"login_id\": \"$LOGIN\", \"password\": \"$PASSWORD\"}" $rollcall/v1/sessions |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
check 'no token' 401 "$(status)"
check 'a token that never was' 401 "$(status -H 'Authorization: Bearer rcs_nonsense')"
check 'a good token' 200 "$(status -H "Authorization: Bearer $token")"
who=$(curl --silent -H "Authorization: Bearer $token" -H 'X-User-Id: forged' -H 'X-Scope: admin' $gateway/)
echo "      the backend was told: $who"
check 'the caller' "$LOGIN" "$(echo "$who" | python3 -c 'import json, sys; print(json.load(sys.stdin)["X-User-Login"])')"
check 'forged headers' False "$(echo "$who" | python3 -c 'import json, sys; print(json.load(sys.stdin)["X-User-Id"] == "forged")')"
check 'the token at the backend' None "$(echo "$who" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Authorization"])')"
curl --silent --fail --request DELETE -H "Authorization: Bearer $token" $rollcall/v1/sessions/current
check 'after logging out' 401 "$(status -H "Authorization: Bearer $token")"
