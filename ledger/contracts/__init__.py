"""The contracts: Solidity sources, and the compiled artifacts that Python deploys and checks.

Rebuilt with ``npm ci && node build.js artifacts`` in this folder; nothing here needs a compiler at
run time.
"""
