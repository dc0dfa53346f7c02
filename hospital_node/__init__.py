"""NODE: the only folder that reads patient records. Everything that leaves passes ``egress``."""
