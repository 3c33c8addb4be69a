"""The database tables of messaging. They import no use case, so every use case can import them."""
