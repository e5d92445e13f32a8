"""The plugin host for malware-scanning engines."""
