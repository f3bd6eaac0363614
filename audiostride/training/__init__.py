"""Training and evaluation of classifiers with Lightning."""
