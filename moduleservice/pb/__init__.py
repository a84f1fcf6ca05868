"""Python made from `proto/` by `python -m moduleservice.protos`; not to be edited."""
