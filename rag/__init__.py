"""The words, contracts, models and answering of Footnote; imports no sibling package."""
