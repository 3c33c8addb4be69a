"""The daily digest: a mail to the office each morning about the day before."""
