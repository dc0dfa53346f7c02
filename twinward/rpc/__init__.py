"""Transport: protos, generated stubs and mTLS channels."""
