# mend_nemo: in the packages' folder, which install_lock (../sources.sh) ends in.
mend_nemo() {
    # NeMo asks for a check that tarfile has from Python 3.11.4 on, behind its own; Debian 12 has
    # 3.11.2, in which it could load no model.
    if ! python3 -c "from tarfile import data_filter" 2>/dev/null; then
        sed -i 's/, filter="data")/)/' nemo/utils/tar_utils.py
    fi
}
