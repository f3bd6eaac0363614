"""The meaning of trained strides: cut-off frequencies, tables, figures and sounds."""
