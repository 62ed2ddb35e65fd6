"""One module a question. Each is imported with the audit: a new question is a new file here."""
