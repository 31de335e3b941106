"""What pages share: filters and the state in the address, tables, charts, downloads, formulas, messages."""
