#!/bin/sh
# Stand-in for nvidia-smi on a GB10, whose memory is the host's: it says what is asked for as the real one
# does with --format=csv,noheader,nounits. Where NVIDIA_SMI_HANGS names a file, it hangs while that is there.
while [ -e "${NVIDIA_SMI_HANGS:-/run/nvidia-smi-hangs}" ]; do sleep 0.1; done
echo "NVIDIA GB10, 37, 52, 41.25, [N/A], [N/A]"
