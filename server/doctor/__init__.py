"""``twinward server doctor``: small checks, each naming one fault and its fix; nothing changes."""
