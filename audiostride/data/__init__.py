"""What training reads: prepared corpora, windows cut from them, augmentation."""
