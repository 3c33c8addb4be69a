"""Import contacts and do-not-contact lists from files, and contacts from OpenPhone."""
