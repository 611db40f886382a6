"""The workload's image and what it is made of, without Docker and the same to the byte every time.

`oci` writes images, those of the embedded cluster's drivers, too.
"""
