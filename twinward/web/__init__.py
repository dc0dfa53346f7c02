"""One shell for every site of the product: layout, guards, sessions, tables; no domain logic."""
