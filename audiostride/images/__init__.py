"""What training on images reads: CIFAR, folders of images, batches, augmentation.

Nothing here is imported by a run on sound.
"""
