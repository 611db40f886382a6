"""What goes to other machines: the workload's image to a registry, a bundle to carry by hand."""
