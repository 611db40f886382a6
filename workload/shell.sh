#!/bin/sh
# The workload for images that have a shell and no Python: what it reports needs no CUDA. It writes
# the result that `workload.result` describes, as `python3 -m workload` does, and takes of its
# commands and options:
#   rest [--role NAME] [--patience SECONDS] [--end exit|kill]    until SIGTERM or the patience ends
#   inventory [--role NAME]                                      find no GPU, for want of CUDA
# Besides a POSIX shell it takes sed, tr, readlink, sha256sum and sleep (with parts of a second).
set -u

schema=dra-conformance/workload/v1
mark=$(printf '\001') # stands for a line break while lines are counted

# Make JSON's strings of lines, with commas between them.
strings() {
    tr -d '\002-\010\013-\037' |
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e "s/$mark/\\\\n/g" -e 's/.*/"&"/' \
            -e '$!s/$/, /' | tr -d '\n'
}

# The variables that this process was started with.
environment() {
    tr '\000\n' '\n\001' <"/proc/$$/environ" | strings |
        sed -e 's/^"\([^="]*\)=/"\1": "/' -e 's/", "\([^="]*\)=/", "\1": "/g'
}

# Device nodes below a folder of /dev, but for those of every container.
nodes() {
    for node in "$1"/* "$1"/.[!.]*; do
        if [ -L "$node" ]; then
            continue
        elif [ -d "$node" ]; then
            nodes "$node"
        elif [ -e "$node" ]; then
            case ${node#/dev/} in
            null | zero | full | random | urandom | tty | ptmx | console | termination-log) ;;
            pts/* | shm/* | mqueue/*) ;;
            *) printf '%s\n' "${node#/dev/}" | tr '\n' '\001' | sed "s/$mark\$//" && echo ;;
            esac
        fi
    done
}

process() {
    while read -r name values; do
        # shellcheck disable=SC2086 # a list of numbers
        case $name in
        NSpid:) set -- $values && pids=$(printf '%s, ' "$@") ;;
        Uid:) uid=${values%%[!0-9]*} ;;
        Gid:) gid=${values%%[!0-9]*} ;;
        CapEff:) capabilities=$values ;;
        NoNewPrivs:) no_new=$values ;;
        Seccomp:) seccomp=$values ;;
        esac
    done <"/proc/$$/status"
    printf '"own_pid": %d, "nspid": [%s], "uid": %d, "gid": %d' $$ "${pids%, }" "$uid" "$gid"
    printf ', "uid_map": [%s]' "$(sed 's/^ *//; s/  */ /g' "/proc/$$/uid_map" | strings)"
    for kind in pid:pid ipc:ipc user:user network:net mount:mnt; do
        printf ', "%s_namespace": "%s"' "${kind%:*}" "$(readlink "/proc/$$/ns/${kind#*:}")"
    done
    printf ', "cap_eff": "%s", "no_new_privs": %d, "seccomp": %d' \
        "$capabilities" "$no_new" "$seccomp"
}

# The result, or its short form, of a verdict with its exit code; the rest is added to it.
document() {
    printf '{"schema": "%s", "exit": %d, "verdict": "%s", "role": "%s", %s}' \
        "$schema" "$code" "$verdict" "$role" "$1"
}

result() {
    document "\"process\": {$(process)}, \"environment\": {$variables}, \"device_nodes\":\
 [$devices]${error:+, \"error\": $error}"
}

# Say how it ends, in the termination message and in the last line of the log, which $line is: after
# SIGTERM there is little time.
finish() {
    digest=$(printf '%s' "$line" | sha256sum)
    if [ -w /dev/termination-log ]; then
        document "\"sha256\": \"${digest%% *}\"${error:+, \"error\": $error}" >/dev/termination-log
    fi
    printf '%s\n' "$line"
    exit "$code"
}

fail() {
    verdict=$1 code=$2
    error=$(printf '{"step": "%s", "text": %s}' "$3" "$(printf '%s' "$4" | strings)")
    line=$(result)
    finish
}

role=${1:-workload} verdict=ok code=0 error=
patience=60 end=exit
variables=$(environment) devices=$(nodes /dev | strings)
command=${1:-}
[ $# -eq 0 ] || shift
case $command in rest | inventory) ;; *) fail usage 2 options "no command of a shell: $command" ;; esac
while [ $# -gt 0 ]; do
    case $1 in
    --role) role=${2:-} ;;
    --patience) patience=${2:-} ;;
    --end) end=${2:-} ;;
    *) fail usage 2 options "no option of a shell: $1" ;;
    esac
    [ $# -gt 1 ] || fail usage 2 options "$1 has no value"
    shift 2
done
if [ "$command" = inventory ]; then
    fail no-gpu 10 "load CUDA" "this image has a shell only"
fi
line=$(result)
printf '%s: at rest\n' "$role"
sleep "$patience" &
waiting=$!
trap 'kill "$waiting" 2>/dev/null; finish' TERM
printf '%s\n' "$line"
wait "$waiting"
if [ "$end" = kill ]; then
    kill -KILL $$
    # The first process of a PID namespace cannot be killed from inside of it; what it used up of
    # processor time kills it all the same.
    # shellcheck disable=SC3045 # dash, ash and bash have it
    ulimit -t 1
    while :; do :; done
fi
finish
