"""How `replace_strides` finds strided layers, tells which ones share a stride, and changes a network."""
