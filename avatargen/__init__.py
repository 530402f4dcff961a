"""Everything that makes an articulated head avatar; :mod:`eval` judges what this package writes."""

__version__ = "0.1.0"
