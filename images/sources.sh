# Where a build gets its packages from: each step that uses the network reads this first
# (`. /inputs/sources.sh`). The optional secrets pip_conf, ca_bundle and apt_sources hold for that
# step alone and are in no layer; README.md in this folder says what may be in them.
set -eu

if [ -s /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
apt_options=""
if [ -s /run/secrets/apt_sources ]; then
    apt_options="-o Dir::Etc::SourceList=/run/secrets/apt_sources -o Dir::Etc::SourceParts=/dev/null"
fi
if [ -s /run/secrets/ca_bundle ]; then
    export PIP_CERT=/run/secrets/ca_bundle SSL_CERT_FILE=/run/secrets/ca_bundle
    export CURL_CA_BUNDLE=/run/secrets/ca_bundle GIT_SSL_CAINFO=/run/secrets/ca_bundle
    apt_options="$apt_options -o Acquire::https::CAInfo=/run/secrets/ca_bundle"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
export DEBIAN_FRONTEND=noninteractive

# apt_install PACKAGE...: from the distribution, and nothing of apt's own stays.
apt_install() {
    # shellcheck disable=SC2086 # the options are words
    apt-get $apt_options update
    # shellcheck disable=SC2086
    apt-get $apt_options install --yes --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
}

# pip_install ARGUMENT...: into /opt/venv, what is named and no dependency: the locks are complete.
# Bytecode would double the packages' size; an image has that of what it imports.
pip_install() {
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-deps --no-compile \
        --find-links /inputs/wheelhouse "$@"
}

# install_torch LOCK: the CPU build that LOCK names, from the wheelhouse or $TORCH_INDEX. The general
# index has CUDA builds of several gigabytes under the same version.
install_torch() {
    pins="$(grep -E '^torch(audio)?==' "/inputs/$1")"
    if ls /inputs/wheelhouse/torch-*.whl >/dev/null 2>&1; then
        pip_install --no-index "$(echo "$pins" | grep ^torch==)"
    else
        # shellcheck disable=SC2086 # one word each
        pip_install --index-url "$TORCH_INDEX" $pins
    fi
    if ! grep -q '^cuda: Optional\[str\] = None' /opt/venv/lib/python3*/site-packages/torch/version.py; then
        echo "This torch is a CUDA build: let the wheelhouse or TORCH_INDEX have a CPU build." >&2
        return 1
    fi
}

# install_lock LOCK: all that LOCK names; ends in the packages' folder. Nothing is tested, compiled or
# debugged in an image.
install_lock() {
    pip_install --requirement "/inputs/$1"
    cd /opt/venv/lib/python3*/site-packages
    rm -rf torch/test torch/include torch/bin/protoc* torch/bin/test_* torch/bin/*Test
    find . -type d -name tests -prune -exec rm -r {} +
}
