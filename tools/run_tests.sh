#!/bin/sh
# Runs all tests: first those that measure this machine, one at a time, then the others in several processes.
# Usage: run_tests.sh PYTHON PROCESSES [PYTEST_ARGUMENT...]. Both parts always run, so that --last-failed knows them all.
set -u
python=$1 processes=$2
shift 2
nothing_selected=5
measuring=0 others=0
"$python" -m pytest -m alone "$@" || measuring=$?
"$python" -m pytest -m "not alone" --numprocesses "$processes" --dist loadfile "$@" || others=$?
[ "$measuring" -eq 0 ] || [ "$measuring" -eq "$nothing_selected" ] || exit "$measuring"
[ "$others" -eq 0 ] || [ "$others" -eq "$nothing_selected" ] || exit "$others"
# Arguments may well select tests of one part only, but not of none.
[ "$measuring" -eq 0 ] || exit "$others"
