"""What goes over the wire, one file per resource.

Output structs have no defaults, so that every field is always there; input structs refuse unknown fields.
"""
