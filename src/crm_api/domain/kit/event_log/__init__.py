"""The event log. Every area writes events to it; clients and webhook endpoints receive them."""
