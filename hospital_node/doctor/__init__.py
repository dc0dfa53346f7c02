"""``twinward node doctor``: small checks, each naming one fault and its fix; nothing is changed."""
