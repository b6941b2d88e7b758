# shellcheck shell=bash
# Sets up the Python environment that the other scripts run in. Source it under `set -euo pipefail`.
#
# It goes to the root of the repository, makes the virtual environment .venv there with the first
# Python 3.9-3.13 on the PATH, installs the package with its tests' tools in one resolve held to the
# constraints of its stack, and puts the environment first on the PATH. A stamp keeps what was asked
# for: the next call uses the environment as it is, until one of the files that define it changes.
#
# Python 3.9-3.11 gets the stack of TensorFlow 2.15 (constraints.txt), and a later one the current
# stack (constraints-current.txt). Where there are both, the Python of the former is taken.
#
#   PYTHON       the Python to make the environment with
#   SCOPS_STACK  current, for the current stack on Python 3.11 too
#   SCOPS_VENV   folder of the environment, in place of .venv
#   CXX          the C++ compiler; without one the dense CRF is left out

scops_caller_folder=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
scops_venv=${SCOPS_VENV:-$PWD/.venv}
[[ $scops_venv == /* ]] || scops_venv=$scops_caller_folder/$scops_venv
scops_log=$scops_venv.log
scops_stamp=$scops_venv/scops_tf.stamp

readonly REQUIRED_KB=4000000  # 2.5 GB installed, the rest for the downloads on their way there.

fail() {
    echo "Error: $*" >&2
    exit 1
}

# Prints major.minor of a Python; nothing if it does not run, as a shim of a version manager may not.
python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

# Names and versions of the Pythons that may be used, the preferred ones first.
if [[ ${SCOPS_STACK:-} == current ]]; then
    readonly PYTHONS="3.11, 3.12 or 3.13" PREFERRED="3.13 3.12 3.11"
else
    readonly PYTHONS="3.9, 3.10, 3.11, 3.12 or 3.13" PREFERRED="3.11 3.10 3.9 3.13 3.12"
fi

is_supported() {
    [[ -n $1 && " $PREFERRED " == *" $1 "* ]]
}

# Prints the stack of the environment's Python.
stack() {
    case $(python_version "$scops_venv/bin/python") in
        3.9 | 3.10 | 3.11) echo "${SCOPS_STACK:-2.15}" ;;
        *) echo current ;;
    esac
}

# Prints the file of the exact versions of that stack.
constraints() {
    if [[ $(stack) == current ]]; then echo constraints-current.txt; else echo constraints.txt; fi
}

check_asked_stack() {
    [[ -z ${SCOPS_STACK:-} || $SCOPS_STACK == current ]] || fail "\`SCOPS_STACK\` must be current, or" \
        "unset for the stack that fits Python; got $SCOPS_STACK."
}

# Holds the stack to that of the environment, since packages of the other one would be left behind.
check_present_stack() {
    local present asked
    asked=$(stack)
    present=$(cat "$scops_venv/scops_tf.stack" 2>/dev/null || echo "$asked")
    [[ $present == "$asked" ]] || fail "$scops_venv must hold the stack $asked, and has $present;" \
        "remove that folder, set \`SCOPS_VENV\` to another, or change \`SCOPS_STACK\`."
    echo "$asked" >"$scops_venv/scops_tf.stack"
}

# Holds the Python that the caller asked for, if any, to the versions supported and to the environment.
check_asked_python() {
    local asked present
    [[ -n ${PYTHON:-} ]] || return 0
    asked=$(python_version "$PYTHON")
    is_supported "$asked" || fail "\`PYTHON\` must be a Python $PYTHONS; got $PYTHON, which" \
        "is ${asked:-no Python that runs}; name another one, or leave it unset."
    present=$(python_version "$scops_venv/bin/python")
    [[ -z $present || $present == "$asked" ]] || fail "\`PYTHON\` is $asked, and $scops_venv holds" \
        "$present; remove that folder, or set \`SCOPS_VENV\` to another."
}

# Prints the Python to make the environment with.
find_python() {
    local candidate version others=() without_venv=""
    for candidate in ${PYTHON:-${PREFERRED//3./python3.} python3 python}; do
        version=$(python_version "$candidate")
        if ! is_supported "$version"; then
            others+=(${version:+"$version"})
        elif "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        else
            without_venv=${without_venv:-$version}
        fi
    done
    [[ -z $without_venv ]] || fail "Python $without_venv lacks the modules \`venv\` and" \
        "\`ensurepip\`; install them (on Debian and Ubuntu: apt install python$without_venv-venv)."
    fail "a Python $PYTHONS is needed, since TensorFlow runs on no other; the PATH has" \
        "${others[*]:-none}; install one, or name it with PYTHON=/path/to/python3.11."
}

has_pip() {
    "$scops_venv/bin/python" -m pip --version
}

check_free_space() {
    local free
    free=$(df -Pk "$(dirname "$scops_venv")" | awk 'NR == 2 {print $4}')
    ((free >= REQUIRED_KB)) || fail "the environment needs $((REQUIRED_KB / 1000000)) GB of disk;" \
        "$(dirname "$scops_venv") has $((free / 1000)) MB free; make room, or set \`SCOPS_VENV\` to a" \
        "folder on another disk."
}

# Makes the environment, or mends one whose making was interrupted. Deletes nothing.
make_venv() {
    local python
    if [[ -d $scops_venv && ! -f $scops_venv/pyvenv.cfg && -n $(ls -A "$scops_venv") ]]; then
        fail "\`SCOPS_VENV\` must be a virtual environment or a new folder; got $scops_venv, which" \
            "holds other files; name another folder."
    fi
    python=$(find_python)
    check_free_space
    if ! { "$python" -m venv "$scops_venv" && has_pip; } >>"$scops_log" 2>&1; then
        fail "no virtual environment could be made in $scops_venv; see $scops_log, and remove the" \
            "folder if it is an old one."
    fi
}

# Prints why the dense CRF cannot be built here; nothing if it can.
missing_for_crf() {
    local compiler
    compiler=$(command -v "${CXX:-c++}" || { [[ -z ${CXX:-} ]] && command -v g++ clang++; } || true)
    if [[ -z $compiler ]]; then
        echo "there is no C++ compiler"
    elif ! "$scops_venv/bin/python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; then
        echo "Python's C headers are not installed"
    fi
}

# Calls `pip install` with the constraints; what it says goes to the log. The constraints hold the
# packages that building from source needs, too: pip takes them from the first variable before
# release 25.3, from the second one since then.
pip_install() {
    local file stack
    file=$(constraints)
    stack=$(stack)
    PIP_CONSTRAINT=$file PIP_BUILD_CONSTRAINT=$file SCOPS_STACK=$stack \
        "$scops_venv/bin/python" -m pip install --no-input --disable-pip-version-check "$@" \
        >>"$scops_log" 2>&1
}

# Installs the package with the extras $1, in one resolve.
install_package() {
    # The Cython that pydensecrf2 asks for cannot build it on Python 3.13, and a later one can.
    if [[ $1 == *crf* && $(python_version "$scops_venv/bin/python") == 3.13 ]]; then
        pip_install cython setuptools wheel &&
            pip_install --no-build-isolation --editable ".[$1]"
    else
        pip_install --editable ".[$1]"
    fi
}

explain_failed_install() {
    if grep -q "No space left on device" "$scops_log"; then
        fail "the disk filled up during the installation; make room and run this again; log: $scops_log."
    elif grep -Eq "NewConnectionError|Retrying \(Retry|ConnectTimeout|ReadTimeout|ProxyError|name resol" \
        "$scops_log"; then
        fail "the package index cannot be reached; check the network or pip's settings for an index" \
            "and a proxy, and run this again; log: $scops_log."
    elif grep -q "No matching distribution found" "$scops_log"; then
        fail "the package index has no build of a pinned package for this machine (tested: Linux on" \
            "x86-64); log: $scops_log."
    fi
    fail "the packages could not be installed; log: $scops_log."
}

# Everything that the environment depends on, in one line.
describe_request() {
    local crf=with
    [[ -z $(missing_for_crf) ]] || crf=without
    echo "$PWD $(stack) $crf CRF" "$(cat requirements.txt "$(constraints)" setup.py | cksum)"
}

is_ready() {
    [[ -f $scops_stamp ]] && "$scops_venv/bin/python" -c '' 2>/dev/null &&
        [[ $(<"$scops_stamp") == "$(describe_request)" ]]
}

install() {
    local missing version
    : >"$scops_log"
    has_pip >>"$scops_log" 2>&1 || make_venv
    version=$(python_version "$scops_venv/bin/python")
    is_supported "$version" || fail "$scops_venv holds Python $version, and $PYTHONS is needed;" \
        "remove it, or set \`SCOPS_VENV\` to another folder."
    check_present_stack
    echo "Installing into $scops_venv: up to 800 MB of downloads, some minutes (log: $scops_log)."
    rm -f "$scops_stamp"
    missing=$(missing_for_crf)
    if [[ -n $missing ]] || ! install_package test,crf; then
        if [[ -z $missing ]]; then
            grep -q "Failed building wheel for pydensecrf2" "$scops_log" ||
                explain_failed_install
            missing="it could not be built (log: $scops_log)"
        fi
        install_package test || explain_failed_install
        echo "The dense CRF is left out, since $missing; nothing but the option for it needs it."
    fi
    describe_request >"$scops_stamp.new"
    mv "$scops_stamp.new" "$scops_stamp"
}

set_up() {
    check_asked_stack
    check_asked_python
    if is_ready; then
        return
    fi
    if ! { mkdir -p "$(dirname "$scops_venv")" && : >>"$scops_log"; } 2>/dev/null; then
        fail "$(dirname "$scops_venv") must be writable; set \`SCOPS_VENV\` to a folder elsewhere."
    fi
    # One at a time. The lock goes with the subshell, however it ends.
    (
        trap 'fail "the installation was interrupted; run this again."' INT TERM
        if command -v flock >/dev/null && ! flock --nonblock 9; then
            echo "Waiting for another set-up of $scops_venv to end."
            flock 9
        fi
        is_ready || install
    ) 9>>"$scops_log"
}

set_up
export PATH="$scops_venv/bin:$PATH"
