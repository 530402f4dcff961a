"""Train and measure the shipped prior and judges."""
