"""The program that runs inside containers: shows GPUs, and shares GPU memory between processes.

It stands alone: nothing of the rest of the project is imported, and nothing but `workload.cuda`
needs PyCUDA. ``python -m workload --help`` says how to call it, docs/workload.md what it does.
"""
