"""Descriptions of the tags of operations, in the order in which the document shows them."""

TAGS = {
    "contacts": "People, identified by phone number, with their flags, opt-outs and timeline.",
    "imports": "Import contacts from files or from the provider: try it in a dry run, commit it, "
    "undo it.",
    "lists": "Named lists of contacts.",
    "segments": "Groups of contacts that match rules. The rules are evaluated at each use.",
    "custom fields": "Own fields of contacts, each with a name and a type of values.",
    "properties": "Buildings with their address, their attributes and their contacts.",
    "notes": "Notes that users write about a contact.",
    "merging": "Merge contacts that are the same person, and undo merges.",
    "consent": "Opt-outs and opt-ins of phone numbers, with their history as proof.",
    "phone validation": "Find out the line type of phone numbers: mobile, landline or VoIP.",
    "lines": "The company's own phone numbers, with the sending limits of each.",
    "settings": "Settings of the sending company: names, test numbers, brand, carrier budgets.",
    "campaigns": "Send one message to many contacts, within the campaign's hours and limits.",
    "tags": "Tags of contacts: count them, rename or remove them, change many contacts at once.",
    "templates": "Saved texts of messages, for use in campaigns.",
    "conversations": "Messages and calls between a line and a phone number.",
    "media": "Pictures in messages and recordings of calls.",
    "webhooks": "Events received from the provider, and how they were processed.",
    "webhook endpoints": "URLs to which this service sends its events, and the deliveries to them.",
    "events": "Live events as a stream. After a disconnect, a client can continue with the next "
    "event.",
    "operations": "Alerts, reconciliation runs, health checks, scheduled jobs and workers.",
    "compliance": "Legal sending hours and limits, each with its source.",
    "access": "API keys and the audit log.",
    "auth": "Sign in, sign out, and change or reset a password.",
    "users": "Users who can sign in.",
    "sandbox": "For developers: control the clock, the people and the faults of the sandbox. Not "
    "available with a real API key.",
    "health": "Liveness, readiness and metrics of the service.",
}
