"""One module per step; `schema.REVISIONS` lists them."""
