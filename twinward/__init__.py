"""The kernel: identities, signatures, canonical bytes, errors, transport and the command root.

Owns what both sides of the network must agree on to the byte. It knows no other folder, reads no
patient data and does no work at import.
"""

__version__ = "0.1.0.dev0"
