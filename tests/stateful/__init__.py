"""The driver over a store against a plain model, with faults and crashes."""
