# What both flavours do with their lock; ../sources.sh comes first.

# install_lock NAME: into /opt/venv. Nothing is tested, compiled or debugged in an image.
install_lock() {
    pip_install --requirement "/inputs/$1"
    cd /opt/venv/lib/python3*/site-packages
    rm -rf torch/test torch/include torch/bin/protoc* torch/bin/test_* torch/bin/*Test
    find . -type d -name tests -prune -exec rm -r {} +
    # NeMo asks for a check that tarfile has from Python 3.11.4 on, behind its own; Debian 12 has
    # 3.11.2, in which it could load no model.
    if ! python3 -c "from tarfile import data_filter" 2>/dev/null; then
        sed -i 's/, filter="data")/)/' nemo/utils/tar_utils.py
    fi
}
