#!/bin/sh
# Makes a virtual environment: make_venv.sh PYTHON DIR. On a bare Debian the module that does it is a package of its own.
set -eu
python=$1
dir=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Yunhe needs Python 3.11 or newer; '$python' is not. Set PYTHON=/path/to/python3.11." >&2
    exit 1
fi
echo "making $dir ..."
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    sh "$(dirname "$0")/system_packages.sh" venv
fi
"$python" -m venv "$dir"
