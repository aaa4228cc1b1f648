#!/usr/bin/env bash
# Runs StackStorm's own command line client against the server with its built-in configuration, once with a token
# and once with an API key. Prints one line per check and stops at the first that fails.
#
# Needs Python 3 with `venv`, curl, and a connection to PyPI. Takes the program to test as its argument; without one
# it builds it.
set -euo pipefail
cd "$(dirname "$0")/../.."

token=demo-token-for-local-use-only
key=demo-key-for-local-use-only

program=${1:-}
if [ -z "$program" ]; then
    cargo build --quiet -p tower-webhook-servers --example stackstorm
    program=${CARGO_TARGET_DIR:-target}/debug/examples/stackstorm
fi

folder=$(mktemp -d)
server=
# Invoked by the trap.
# shellcheck disable=SC2317
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2> /dev/null || true
        wait "$server" 2> /dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

fail() {
    printf 'FAILED  %s\n' "$1" >&2
    shift
    printf '%s\n' "$@" >&2
    exit 1
}

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check st2client==3.9.0

"$program" --listen 127.0.0.1:0 --data "$folder/data" > "$folder/out" 2> "$folder/err" &
server=$!
for _ in $(seq 100); do
    [ -s "$folder/out" ] && break
    kill -0 "$server" 2> /dev/null || fail "start" "$(cat "$folder/err")"
    sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$folder/out")
[ -n "$address" ] || fail "start" "no line with the address"

# The client keeps its configuration in the home folder. That of the user is left alone.
export HOME=$folder ST2_API_URL=$address/v1
unset ST2_AUTH_TOKEN ST2_API_KEY
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY

# check NAME PATTERN COMMAND..: the command succeeds, and its output has a line that matches.
# The output stays in $output.
check() {
    local name=$1 pattern=$2
    shift 2
    output=$(COLUMNS=200 "$@" 2>&1 < /dev/null) || fail "$name" "$output"
    grep -qE -- "$pattern" <<< "$output" || fail "$name" "expected: $pattern" "$output"
    printf 'ok      %s\n' "$name"
}

# refuse NAME PATTERN COMMAND..: the command fails, and its output has a line that matches.
refuse() {
    local name=$1 pattern=$2
    shift 2
    if output=$(COLUMNS=200 "$@" 2>&1 < /dev/null); then fail "$name" "$output"; fi
    grep -qE -- "$pattern" <<< "$output" || fail "$name" "expected: $pattern" "$output"
    printf 'ok      %s\n' "$name"
}

# absent NAME PATTERN: the last output has no such line.
absent() {
    if grep -qE -- "$2" <<< "$output"; then fail "$1" "unexpected: $2" "$output"; fi
    printf 'ok      %s\n' "$1"
}

st2() { "$folder/venv/bin/st2" "$@"; }

# Writes the rule `client.made` on the hook `made/by/st2`, with this description.
rule_file() {
    cat > "$folder/rule.yaml" << END
name: made
pack: client
description: $1
enabled: true
trigger: {type: core.st2.webhook, parameters: {url: made/by/st2}}
criteria: {trigger.body.n: {type: equals, pattern: 1}}
action: {ref: core.local, parameters: {cmd: date}}
END
}

# every_command NAME FLAG..: the whole list of commands, with these flags of the client.
every_command() {
    local by=$1 id secret
    shift

    check "$by: webhook list" 'releases/deploy *\| *core.st2.webhook *\| *A hook with slashes' st2 webhook list "$@"
    check "$by: webhook get" '"url": "sample"' st2 webhook get sample "$@" -j
    check "$by: webhook get, with slashes" '"url": "releases/deploy"' st2 webhook get releases/deploy "$@" -j
    refuse "$by: webhook get, unknown" 'not found' st2 webhook get no/such/hook "$@"

    check "$by: rule list" 'default.on_sample .*True' st2 rule list "$@"
    check "$by: rule list --pack" 'releases.on_deploy' st2 rule list --pack releases "$@"
    absent "$by: rule list --pack leaves others out" 'on_sample'
    check "$by: rule list -n 1" 'default.on_sample' st2 rule list -n 1 "$@"
    absent "$by: rule list -n 1 shows one" 'on_deploy'
    check "$by: rule get" '"ref": "core.local"' st2 rule get releases.on_deploy "$@" -j
    rule_file first
    check "$by: rule create" '"ref": "client.made"' st2 rule create "$folder/rule.yaml" "$@" -j
    check "$by: the hook is there" '"description": "first"' st2 webhook get made/by/st2 "$@" -j
    refuse "$by: rule create, again" 'duplicate' st2 rule create "$folder/rule.yaml" "$@"
    rule_file second
    check "$by: rule update" '"description": "second"' st2 rule update client.made "$folder/rule.yaml" "$@" -j
    check "$by: rule disable" '"enabled": false' st2 rule disable client.made "$@" -j
    check "$by: rule list --disable" 'client.made' st2 rule list --disable "$@"
    check "$by: rule enable" '"enabled": true' st2 rule enable client.made "$@" -j
    check "$by: rule get keeps the criteria" '"pattern": 1' st2 rule get client.made "$@" -j
    check "$by: rule delete" 'successfully deleted' st2 rule delete client.made "$@"
    refuse "$by: rule get, deleted" 'not found' st2 rule get client.made "$@"
    refuse "$by: the hook is gone" 'not found' st2 webhook get made/by/st2 "$@"

    check "$by: apikey list" '"used_by": "a sender' st2 apikey list "$@" -d -j
    absent "$by: apikey list shows no key" 'local-use-only'
    check "$by: apikey create" '"key": "[A-Za-z0-9_-]{32,}"' st2 apikey create -m '{"made_by": "st2"}' "$@" -j
    id=$(sed -n 's/^ *"id": "\([^"]*\)".*/\1/p' <<< "$output")
    secret=$(sed -n 's/^ *"key": "\([^"]*\)".*/\1/p' <<< "$output")
    check "$by: apikey create -k" '^[A-Za-z0-9][A-Za-z0-9_-]{31,}$' st2 apikey create -k "$@"
    check "$by: the new key works" 'sample' st2 webhook list --api-key "$secret"
    check "$by: apikey get" '"made_by": "st2"' st2 apikey get "$id" "$@" -j
    absent "$by: apikey get shows no key" "$secret"
    check "$by: apikey disable" '"enabled": false' st2 apikey disable "$id" "$@" -j
    refuse "$by: the disabled key is refused" '401' st2 webhook list --api-key "$secret"
    check "$by: apikey enable" '"enabled": true' st2 apikey enable "$id" "$@" -j
    check "$by: the enabled key works" 'sample' st2 webhook list --api-key "$secret"
    check "$by: apikey delete" 'successfully deleted' st2 apikey delete "$id" "$@"
    refuse "$by: the deleted key is refused" '401' st2 webhook list --api-key "$secret"
    refuse "$by: apikey get, deleted" 'not found' st2 apikey get "$id" "$@"

    check "$by: a hook is called" '"sent":"by curl"' \
        curl -sS --fail -H "St2-Api-Key: $key" -H 'Content-Type: application/json' -d '{"sent":"by curl"}' \
        "$address/v1/webhooks/sample"
    check "$by: trigger-instance list" 'core\.[0-9a-f]+ ' st2 trigger-instance list "$@"
    check "$by: trigger-instance list --trigger" 'id' st2 trigger-instance list --trigger core.other "$@"
    absent "$by: trigger-instance list --trigger leaves others out" 'core\.[0-9a-f]+ '
}

refuse "no credential: webhook list" '401' st2 webhook list
every_command "--token" --token "$token"
every_command "--api-key" --api-key "$key"
ST2_AUTH_TOKEN=$token check "ST2_AUTH_TOKEN: webhook list" 'sample' st2 webhook list
ST2_API_KEY=$key check "ST2_API_KEY: webhook list" 'sample' st2 webhook list
# The token decides, with any key.
ST2_API_KEY=no-such-key check "token and key: the token decides" 'sample' st2 webhook list --token "$token"
ST2_API_KEY=$key refuse "token and key: a bad token is not saved by the key" '401' st2 webhook list --token no-such-token

kill "$server"
wait "$server" || fail "SIGTERM" "status $?"
server=
printf 'ok      SIGTERM ends the server\n'
