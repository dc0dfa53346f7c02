#!/bin/sh
# Resolve each role's dependencies and pin them by hash. torch stays out: its CPU wheel has another
# hash than the default one, and which to take is the installer's choice (see README).
set -eu
bin=${1:-.venv/bin}
cd "$(dirname "$0")/.."
# torch and what only its CUDA build wants.
without=""
for package in torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
  nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
  nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
  nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
do without="$without --no-emit-package $package"; done
compile() {
  name=$1; shift
  "$bin/uv" pip compile --quiet --universal --no-header --no-annotate --generate-hashes \
    --python-version 3.11 --prerelease if-necessary-or-explicit $without \
    pyproject.toml "$@" --output-file "requirements/$name.lock"
}
compile base
compile node --extra node
compile server --extra server
compile web --extra web
compile dev --extra node --extra postgresql --extra server --extra web --group dev
# A program of its own, in an environment of its own: `make slither`.
"$bin/uv" pip compile --quiet --universal --no-header --no-annotate --generate-hashes \
  --python-version 3.11 requirements/slither.in --output-file requirements/slither.lock
