"""Parts of all pages: the site's name and logo, the header with its links, and the page that shows an error.

Imports: `config`, `http`, the vocabulary and the tools.
"""
