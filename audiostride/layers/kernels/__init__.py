"""Fast forms of `audiostride.layers.functional`, which the layers use.

`pooling` chooses the cheapest form for each axis by the counts of `costs`, `fused_convolution` joins a
convolution with the resampling of its axis, `learned` holds the autograd functions of matrices, `fourier` the
FFT for long axes, `ramp` the few bins that carry a stride's gradient, `operators` the matrices of fixed
strides, `products` a product along an axis in any memory format.
"""
