"""Building blocks of networks: convolution blocks, window attention, projections, stochastic depth."""
